"""The log on disk: crashes, other writers, and hands that reach into the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from supply_chain.local_sigstore.keys import LocalSigstoreError
from supply_chain.local_sigstore.log import ENTRIES, HEAD, AppendOnlyLog
from supply_chain.local_sigstore.merkle import leaf_hash

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from supply_chain.local_sigstore.log import AppendOnlyLog

log = AppendOnlyLog(Path(sys.argv[1]))
for number in range(int(sys.argv[3])):
    word = f"{sys.argv[2]} {number}"
    log.append(word.encode(), 1)
    print(word, flush=True)
"""


def writer(checkout: Path, folder: Path, name: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder), name, str(count)],
        cwd=checkout,
        stdout=subprocess.PIPE,
        text=True,
    )


def words(log: AppendOnlyLog) -> list[str]:
    found: list[str] = []
    while (inclusion := log.at(len(found))) is not None:
        found.append(inclusion.record.leaf.decode())
    return found


def test_an_appended_leaf_is_there_when_the_log_is_opened_again(tmp_path: Path) -> None:
    made = AppendOnlyLog(tmp_path / "log").append(b"one", 17)
    again = AppendOnlyLog(tmp_path / "log").find(leaf_hash(b"one"))
    assert made == again
    assert (made.record.index, made.record.time_s, made.tree_size) == (0, 17, 1)


def test_two_processes_append_at_once_and_lose_nothing(checkout: Path, tmp_path: Path) -> None:
    with (
        writer(checkout, tmp_path / "log", "left", 150) as left,
        writer(checkout, tmp_path / "log", "right", 150) as right,
    ):
        acknowledged = left.communicate(timeout=60)[0] + right.communicate(timeout=60)[0]
    log = AppendOnlyLog(tmp_path / "log")
    assert sorted(words(log)) == sorted(acknowledged.splitlines())
    assert log.head()[0] == 300


def test_an_open_log_sees_what_others_append(tmp_path: Path) -> None:
    first, second = AppendOnlyLog(tmp_path / "log"), AppendOnlyLog(tmp_path / "log")
    first.append(b"a", 1)
    second.append(b"b", 2)
    assert words(first) == words(second) == ["a", "b"]
    assert first.head() == second.head()


def test_a_killed_writer_loses_nothing_that_it_acknowledged(checkout: Path, tmp_path: Path) -> None:
    with writer(checkout, tmp_path / "log", "victim", 100_000) as process:
        assert process.stdout is not None
        acknowledged = [process.stdout.readline() for _ in range(50)]
        os.kill(process.pid, signal.SIGKILL)
        acknowledged += [line for line in process.stdout if line.endswith("\n")]
    survived = words(AppendOnlyLog(tmp_path / "log"))
    assert survived[: len(acknowledged)] == [line.rstrip("\n") for line in acknowledged]
    assert len(survived) <= len(acknowledged) + 1


def test_a_line_that_was_never_finished_is_cut_off(tmp_path: Path) -> None:
    AppendOnlyLog(tmp_path / "log").append(b"kept", 1)
    with (tmp_path / "log" / ENTRIES).open("ab") as file:
        file.write(b'{"leaf":"dG9y')
    log = AppendOnlyLog(tmp_path / "log")
    log.append(b"next", 2)
    assert words(AppendOnlyLog(tmp_path / "log")) == ["kept", "next"]


def test_a_shortened_log_is_refused(tmp_path: Path) -> None:
    log = AppendOnlyLog(tmp_path / "log")
    log.append(b"one", 1)
    log.append(b"two", 1)
    path = tmp_path / "log" / ENTRIES
    path.write_bytes(path.read_bytes().splitlines(keepends=True)[0])
    with pytest.raises(LocalSigstoreError, match="shortened or edited") as raised:
        AppendOnlyLog(tmp_path / "log")
    assert raised.value.code == "build.local_sigstore"
    with pytest.raises(LocalSigstoreError, match="shortened while in use"):
        log.append(b"three", 1)


def test_an_edited_log_is_refused(tmp_path: Path) -> None:
    AppendOnlyLog(tmp_path / "log").append(b"one", 1)
    path = tmp_path / "log" / ENTRIES
    path.write_bytes(path.read_bytes().replace(b"b25l", b"b25m"))
    with pytest.raises(LocalSigstoreError, match="shortened or edited"):
        AppendOnlyLog(tmp_path / "log")


@pytest.mark.parametrize("line", [b"[]\n", b"\0\0\0\n", b'{"leaf":"*","time":1}\n'])
def test_a_line_that_is_no_entry_is_refused(tmp_path: Path, line: bytes) -> None:
    AppendOnlyLog(tmp_path / "log")
    (tmp_path / "log" / ENTRIES).write_bytes(line)
    with pytest.raises(LocalSigstoreError, match="line 1 is no log entry"):
        AppendOnlyLog(tmp_path / "log")


def test_a_spoiled_head_is_refused(tmp_path: Path) -> None:
    AppendOnlyLog(tmp_path / "log").append(b"one", 1)
    (tmp_path / "log" / HEAD).write_text(json.dumps({"size": "many"}))
    with pytest.raises(LocalSigstoreError, match="expected size and root"):
        AppendOnlyLog(tmp_path / "log")


def test_only_an_empty_log_takes_a_first_leaf(tmp_path: Path) -> None:
    log = AppendOnlyLog(tmp_path / "log")
    log.append_if_empty(b"genesis", 1)
    log.append_if_empty(b"genesis", 1)
    assert words(log) == ["genesis"]
    assert log.at(1) is None
    assert log.at(-1) is None
    assert log.find(leaf_hash(b"other")) is None


def test_the_folder_belongs_to_its_owner_alone(tmp_path: Path) -> None:
    AppendOnlyLog(tmp_path / "log").append(b"one", 1)
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "log").iterdir()} == {0o600}
