from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from blindllama._memory import ReleaseMemory
from blindllama._own_file import OwnFile
from blindllama.errors import UsageError

FILES = [".memory.json.lock", "memory.json"]


def test_a_new_memory_is_empty(tmp_path: Path) -> None:
    assert ReleaseMemory(tmp_path / "memory.json").newest("line") is None


def test_s4_remembers_the_highest_of_each_line(tmp_path: Path) -> None:
    memory = ReleaseMemory(tmp_path / "memory.json")
    for sequence in (3, 5, 4):
        memory.remember("line", sequence)
    memory.remember("other", 1)
    again = ReleaseMemory(tmp_path / "memory.json")
    assert (again.newest("line"), again.newest("other")) == (5, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == FILES


@pytest.mark.parametrize(
    "content",
    [b"", b"{}", b'{"version":2,"sequences":{}}', b'{"version":1,"sequences":{"line":0}}'],
)
def test_an_unreadable_memory_is_no_empty_memory(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "memory.json"
    path.write_bytes(content)
    memory = ReleaseMemory(path)
    with pytest.raises(UsageError):
        memory.newest("line")
    with pytest.raises(UsageError):
        memory.remember("line", 1)
    assert path.read_bytes() == content


def test_a_folder_is_no_memory(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ReleaseMemory(tmp_path).newest("line")


def test_a_folder_must_exist(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ReleaseMemory(tmp_path / "missing" / "memory.json").remember("line", 1)


def test_a_failed_write_leaves_the_old_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "memory.json"
    memory = ReleaseMemory(path)
    memory.remember("line", 1)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(UsageError):
        memory.remember("line", 2)
    assert json.loads(path.read_bytes())["sequences"] == {"line": 1}
    assert sorted(found.name for found in tmp_path.iterdir()) == FILES


def test_s4_clients_at_once_do_not_undo_each_other(tmp_path: Path) -> None:
    path = tmp_path / "memory.json"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: ReleaseMemory(path).remember(f"line {n % 2}", n), range(1, 41)))
    memory = ReleaseMemory(path)
    assert (memory.newest("line 0"), memory.newest("line 1")) == (40, 39)
    assert sorted(found.name for found in tmp_path.iterdir()) == FILES


def test_a_lock_that_is_left_behind_holds_nobody_up(tmp_path: Path) -> None:
    (tmp_path / ".memory.json.lock").touch()
    ReleaseMemory(tmp_path / "memory.json").remember("line", 1)


def test_a_lock_that_is_held_is_waited_for_and_then_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blindllama._memory._LOCK_TIMEOUT_S", 0.02)
    path = tmp_path / "memory.json"
    with (
        OwnFile(path, what="memory").locked(1.0),
        pytest.raises(UsageError, match=r"memory\.json\.lock"),
    ):
        ReleaseMemory(path).remember("line", 1)
    assert not path.exists()
