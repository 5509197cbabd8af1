from __future__ import annotations

import os
from pathlib import Path

import pytest

from supply_chain.workspace import EPOCH, Workspace, fresh_dir, replace_file


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
