from __future__ import annotations

import dataclasses
import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from invoke import Program

import tasks
from supply_chain.doctor import Machine, Verdict, bad, examine, look

FIT = Machine(
    python=(3, 11),
    user=0,
    debian="debian 12",
    free_bytes=20 * 10**9,
    memory_bytes=8 * 2**30,
    cores=2,
    missing=(),
    keyring=True,
    namespaces=True,
    kvm=True,
    port=8443,
    port_free=True,
    year=2026,
)


def verdicts(machine: Machine) -> dict[str, Verdict]:
    return {finding.what: finding.verdict for finding in examine(machine)}


def test_a_machine_that_has_everything() -> None:
    assert set(verdicts(FIT).values()) == {Verdict.GOOD}
    assert not any(finding.remedy for finding in examine(FIT))


@pytest.mark.parametrize(
    ("change", "what", "todo"),
    [
        ({"python": (3, 10)}, "Python", "3.11"),
        ({"debian": "ubuntu 24.04"}, "system", "container of Debian 13"),
        ({"user": 1000}, "rights", "sudo"),
        ({"namespaces": False}, "namespaces", "--privileged"),
        ({"keyring": False}, "keyring", "apt-get install debian-archive-keyring"),
        ({"free_bytes": 10**9}, "disk", "5 GB are needed; free some"),
        ({"memory_bytes": 2**30}, "memory", "4 GB are needed"),
        ({"year": 1970}, "clock", "set it"),
    ],
)
def test_what_would_end_a_release(change: dict[str, Any], what: str, todo: str) -> None:
    (wrong,) = bad(examine(dataclasses.replace(FIT, **change)))
    assert wrong.what == what
    assert todo in str(wrong)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"debian": "debian 14"}, "system"),
        ({"cores": 1}, "cores"),
        ({"kvm": False}, "KVM"),
        ({"port_free": False}, "port"),
        ({"missing": ("swtpm",)}, "programs"),
    ],
)
def test_what_only_wants_to_be_known(change: dict[str, Any], what: str) -> None:
    found = verdicts(dataclasses.replace(FIT, **change))
    assert found.pop(what) is Verdict.NOTE
    assert set(found.values()) == {Verdict.GOOD}


def test_programs_that_nobody_may_install() -> None:
    machine = dataclasses.replace(FIT, user=1000, missing=("qemu-system-x86", "swtpm"))
    said = "\n".join(map(str, bad(examine(machine))))
    assert "sudo apt-get install --no-install-recommends qemu-system-x86 swtpm" in said


def test_this_machine(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        machine = look(tmp_path / "not" / "there", port=port, now=datetime(2031, 1, 1, tzinfo=UTC))
    assert not machine.port_free
    assert machine.year == 2031
    assert machine.python >= (3, 11)
    assert machine.free_bytes > 0
    assert machine.memory_bytes > 0
    assert machine.debian.startswith("debian")
    assert look(tmp_path, port=port, now=datetime(2031, 1, 1, tzinfo=UTC)).port_free


def test_the_task_says_what_was_found_here(
    checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    expected = list(examine(look(checkout, port=8443, now=datetime.now(UTC))))
    Program(namespace=tasks.ns).run(["invoke", "doctor"], exit=False)
    caught = capsys.readouterr()
    for finding in expected:
        # Space on the disk is another one a moment later.
        assert finding.what in caught.out
    assert ("invoke release can work here" in caught.out) == (not bad(expected))
    assert ("to mend before" in caught.err) == bool(bad(expected))
