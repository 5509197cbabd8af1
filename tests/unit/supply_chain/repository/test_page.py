"""docs/repository.md: its commands are run, in its order, and a client follows each of them."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from invoke import Collection, Program

from blindllama import Repository
from supply_chain import _index_tasks
from supply_chain.passphrase import VARIABLE
from supply_chain.workspace import CACHE_VARIABLE
from tests.simulators.release_folder import made_folder


@pytest.fixture
def checkout_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(_index_tasks, "ROOT", tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    monkeypatch.setenv(VARIABLE, "a passphrase of the test")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(command: str) -> None:
    namespace = Collection()
    namespace.add_collection(_index_tasks.ns)
    Program(namespace=namespace).run(["invoke", *shlex.split(command)], exit=False)


def commands(page: str) -> list[str]:
    found = re.findall(r"^    \./do invoke ([^#\n]*)", page, re.MULTILINE)
    return [command.strip() for command in found]


def test_the_commands_of_the_page(
    checkout: Path,
    checkout_of_its_own: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = (checkout / "docs" / "repository.md").read_text()
    told = commands(page)
    names = {name.replace("_", "-") for name in _index_tasks.ns.task_names}
    assert {command.split()[0] for command in told} == {"release"} | {
        f"index.{name}" for name in names
    }
    root = checkout_of_its_own
    versions = []
    for command in told:
        if command == "release":
            made_folder(root / "dist")
        elif not command.startswith("index.serve"):  # which never ends; test_serve is about it
            run(command)
        if (root / "dist" / "repository" / "timestamp.json").exists() and "init" not in command:
            client = Repository(root / "dist/repository", root=root / "dist/repository/1.root.json")
            versions.append(client.fetch(datetime.now(UTC)).listing)
    assert [listing.newest for listing in versions] == [1] * len(versions)
    assert versions[0].revoked == frozenset()
    assert versions[-1].revoked == frozenset({1})
    assert (root / "dist/repository/5.root.json").exists()
    out = capsys.readouterr().out
    assert "clients now accept no release" in out
    assert out.count("no client takes it any more; remove it") == 2 + 1 + 4


SERVE = """
import sys
from pathlib import Path
from invoke import Context
from supply_chain import _index_tasks
_index_tasks.ROOT = Path(sys.argv[1])
_index_tasks.serve(Context())
"""


def test_serve(checkout: Path, checkout_of_its_own: Path) -> None:
    root = checkout_of_its_own
    made_folder(root / "dist")
    for command in ("index.init", "index.publish"):
        run(command)
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(root)],
        cwd=checkout,
        env={CACHE_VARIABLE: str(root / "cache"), "PYTHONPATH": ":".join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        client = Repository(url, root=root / "dist/repository/1.root.json")
        assert client.fetch(datetime.now(UTC)).listing.newest == 1
        process.send_signal(signal.SIGINT)


@pytest.mark.parametrize(
    ("command", "complaint"),
    [
        ("index.publish", "make one: invoke release"),
        ("index.refresh", "make one: invoke index.init"),
        ("index.revoke x", "--sequence: expected a number"),
        ("index.rotate-root --roles web", "expected none, or some of root, targets, online"),
        ("index.init --root-keys 0", "--root-keys: expected a number from 1"),
        ("index.init --threshold 3", "threshold; expected 1 to 2, the root keys; got 3"),
        ("index.publish --trust-config trust.json", "expected a Sigstore trust configuration"),
        ("index.publish --trust-config other.json", "has another trust root than the policy"),
    ],
)
def test_what_a_command_complains_of(
    checkout_of_its_own: Path,
    capsys: pytest.CaptureFixture[str],
    command: str,
    complaint: str,
) -> None:
    if "trust-config" in command:
        made_folder(checkout_of_its_own / "dist")
        (checkout_of_its_own / "trust.json").write_text("[]")
        (checkout_of_its_own / "other.json").write_text('{"trustedRoot":{},"signingConfig":{}}')
    elif command == "index.publish":
        made_folder(checkout_of_its_own / "dist")
        (checkout_of_its_own / "dist/release/evidence.json").unlink()
    run(command)
    captured = capsys.readouterr()
    assert complaint in captured.err + captured.out
    assert "Traceback" not in captured.err
