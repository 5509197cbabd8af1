from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from supply_chain.progress import SilentProgress
from supply_chain.workspace import EPOCH, Workspace, fresh_dir, held, replace_file, scratch_dir


class StoppedError(Exception):
    pass


def test_the_epoch_is_the_first_second_of_2026() -> None:
    assert EPOCH == 1767225600


def test_the_cache_is_in_the_checkout_unless_it_is_moved(tmp_path: Path) -> None:
    here = Workspace.at(tmp_path, {})
    there = Workspace.at(tmp_path, {"BLINDLLAMA_CACHE": str(tmp_path / "elsewhere")})
    assert here.cache == tmp_path.resolve() / ".cache"
    assert there.cache == tmp_path.resolve() / "elsewhere"
    assert here.release == there.release == tmp_path.resolve() / "dist" / "release"
    assert {here.store, here.state, here.golden, here.trees} == {
        here.cache / name for name in ("store", "state", "golden", "trees")
    }


def test_a_file_is_replaced_and_keeps_its_mode(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    replace_file(path, b"one")
    assert path.stat().st_mode & 0o777 == 0o644
    path.chmod(0o600)
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_file_that_cannot_be_replaced_stays_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "inside").touch()
    with pytest.raises(OSError):
        replace_file(tmp_path / "taken", b"data")
    assert [entry.name for entry in tmp_path.iterdir()] == ["taken"]


def test_a_directory_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    with fresh_dir(target) as work:
        (work / "file").write_text("new")
        assert not target.exists()
    assert (target / "file").read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o755
    assert os.listdir(target.parent) == ["target"]  # noqa: PTH208 - names are what counts


def test_a_directory_replaces_the_one_before(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    with fresh_dir(target) as work:
        (work / "new").touch()
    assert [entry.name for entry in target.iterdir()] == ["new"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


def test_a_failure_leaves_the_old_directory_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(StoppedError), fresh_dir(target) as work:
        (work / "half").touch()
        raise StoppedError
    assert [entry.name for entry in target.iterdir()] == ["old"]
    assert [entry.name for entry in tmp_path.iterdir()] == ["target"]


SPAWN = multiprocessing.get_context("spawn")


def fill(target: Path, filling: Event) -> None:
    """Be in the middle of filling a directory, for ever."""
    with fresh_dir(target) as work:
        (work / "half").touch()
        filling.set()
        threading.Event().wait()


def killed_while_filling(target: Path) -> None:
    filling = SPAWN.Event()
    process = SPAWN.Process(target=fill, args=(target, filling))
    process.start()
    assert filling.wait(30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_what_a_killed_run_has_left_is_gone_after_the_next_one(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    (target / "old").touch()
    killed_while_filling(target)
    assert names(target) == ["old"]
    assert len(names(tmp_path)) == 2
    with fresh_dir(target) as work:
        (work / "new").touch()
    assert names(target) == ["new"]
    assert names(tmp_path) == ["target"]


def test_what_another_run_is_filling_is_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with fresh_dir(target) as work:
        (work / "file").touch()
        with scratch_dir(tmp_path, "target") as other:
            assert other != work
            assert names(work) == ["file"]
    assert names(target) == ["file"]


def test_only_directories_of_the_same_name_are_swept(tmp_path: Path) -> None:
    others = [".target-debug.abcdefgh", ".target.toml", ".target.abcdefghi", "target.abcdefgh"]
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / ".target.12345678").write_text("a file")
    (tmp_path / ".target.87654321").symlink_to(tmp_path / others[0])
    before = names(tmp_path)
    with scratch_dir(tmp_path, "target"):
        pass
    assert names(tmp_path) == before


def test_a_directory_is_there_at_every_moment_of_its_replacement(tmp_path: Path) -> None:
    target, missed, done = tmp_path / "target", [], threading.Event()

    def watch() -> None:
        while not done.is_set():
            # The file of the old directory or of the new one, never none.
            if not (target / "file").exists() and not (target / "file").exists():
                missed.append(time.monotonic())

    with fresh_dir(target) as work:
        (work / "file").touch()
    watcher = threading.Thread(target=watch)
    watcher.start()
    for _ in range(200):
        with fresh_dir(target) as work:
            (work / "file").touch()
    done.set()
    watcher.join()
    assert missed == []
    assert names(tmp_path) == ["target"]


class Notes(SilentProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def test_a_second_run_in_a_checkout_says_that_it_waits(workspace: Workspace) -> None:
    first, second, order = Notes(), Notes(), []

    def run() -> None:
        with workspace.exclusive(second):
            order.append("second")

    with workspace.exclusive(first):
        thread = threading.Thread(target=run)
        thread.start()
        deadline = time.monotonic() + 30
        while not second.texts and time.monotonic() < deadline:
            time.sleep(0.01)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
    assert first.texts == []
    assert second.texts == ["waiting for another run in this checkout to end"]


def hold(path: Path, holding: Event) -> None:
    with held(path):
        holding.set()
        threading.Event().wait()


def test_a_killed_process_holds_nothing(tmp_path: Path) -> None:
    holding = SPAWN.Event()
    process = SPAWN.Process(target=hold, args=(tmp_path / "lock", holding))
    process.start()
    assert holding.wait(30)
    process.kill()
    process.join(30)
    with held(tmp_path / "lock"):
        pass
