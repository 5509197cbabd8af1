from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import pytest

from deploy.qemu import running
from supply_chain.errors import BootError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# A command is unique by a file that it names; sleep would not take one, so a shell's argument does.
WAIT = "read line < $0"


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "process.json"
    yield path
    process = running.read_record(path)
    if process is not None:
        running.end(process)


def argv(tmp_path: Path, script: str = WAIT) -> list[str]:
    fifo = tmp_path / "fifo"
    if not fifo.exists():
        os.mkfifo(fifo)
    return ["sh", "-c", script, str(fifo)]


def start(tmp_path: Path, record: Path, script: str = WAIT) -> running.RunningProcess:
    return running.start(argv(tmp_path, script), output=tmp_path / "output", record=record)


def test_a_started_process_is_recorded_and_found_again(tmp_path: Path, record: Path) -> None:
    process = start(tmp_path, record)
    assert running.read_record(record) == process
    assert running.is_alive(process)


def test_end_ends_it_once(tmp_path: Path, record: Path) -> None:
    process = start(tmp_path, record)
    assert running.end(process)
    assert not running.is_alive(process)
    assert not running.end(process)


def test_a_process_that_ignores_the_polite_signal_is_killed(
    tmp_path: Path, record: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "_PATIENCE_S", 0.2)
    process = start(tmp_path, record, f"trap '' TERM; echo ready; while :; do {WAIT}; done")
    while "ready" not in (tmp_path / "output").read_text():
        pass
    assert running.end(process)
    assert not running.is_alive(process)


def test_another_process_under_the_same_number_is_left_alone(tmp_path: Path, record: Path) -> None:
    process = start(tmp_path, record)
    assert process.start_ticks is not None
    earlier = dataclasses.replace(process, start_ticks=process.start_ticks - 1)
    assert not running.is_alive(earlier)
    assert not running.end(earlier)
    assert running.is_alive(process)


def test_a_process_whose_record_was_not_completed_is_found_by_its_command(
    tmp_path: Path, record: Path
) -> None:
    process = start(tmp_path, record)
    before = running.RunningProcess(argv=process.argv)
    record.write_text(json.dumps(dataclasses.asdict(before)))
    found = running.read_record(record)
    assert found == before
    assert running.is_alive(before)
    assert running.end(before)
    assert not running.is_alive(process)


def test_a_process_that_never_started_is_not_found(tmp_path: Path) -> None:
    never = running.RunningProcess(argv=tuple(argv(tmp_path)))
    assert not running.is_alive(never)
    assert not running.end(never)


def test_a_process_that_ended_by_itself_is_gone(tmp_path: Path, record: Path) -> None:
    process = start(tmp_path, record, "exit 0")
    assert running.wait_until_gone(process, timeout_s=5)
    assert not running.end(process)


def test_waiting_for_a_process_that_stays_ends(tmp_path: Path, record: Path) -> None:
    assert not running.wait_until_gone(start(tmp_path, record), timeout_s=0.1)


def test_no_record_is_no_process(tmp_path: Path) -> None:
    assert running.read_record(tmp_path / "none.json") is None


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"argv": ["x"]}'])
def test_a_damaged_record_is_not_taken_for_no_process(tmp_path: Path, content: bytes) -> None:
    record = tmp_path / "damaged.json"
    record.write_bytes(content)
    with pytest.raises(BootError, match="end it by hand") as caught:
        running.read_record(record)
    assert caught.value.code == "build.boot"
