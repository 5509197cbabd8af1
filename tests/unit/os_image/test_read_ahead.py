from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from os_image.prune import RootfsError
from os_image.read_ahead import READ_AHEAD_LIST, write_read_ahead
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from tests.conftest import locked_tree

LIBRARIES = "usr/lib/x86_64-linux-gnu"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for name in ("b/__pycache__/2.pyc", "b/__pycache__/1.pyc", "a/text"):
        path = tmp_path / "usr" / "lib" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"data")
    (tmp_path / "usr" / "lib" / "a" / "link").symlink_to("text")
    return tmp_path


def listed(root: Path, *patterns: str) -> list[str]:
    write_read_ahead(root, patterns)
    return (root / READ_AHEAD_LIST).read_text().splitlines()


def test_files_come_in_the_order_of_the_patterns_and_once(root: Path) -> None:
    assert listed(root, "usr/lib/b/**/*.pyc", "usr/lib/a/*", "usr/lib/*/*t", "usr/lib/a/text") == [
        "usr/lib/b/__pycache__/1.pyc",
        "usr/lib/b/__pycache__/2.pyc",
        "usr/lib/a/text",
    ]


def test_a_program_brings_its_libraries(root: Path, lock: Lock, store: Store) -> None:
    tree = locked_tree("initrd", lock, store)
    (root / "usr/sbin").mkdir()
    shutil.copy(tree.root / "usr/sbin/dmsetup", root / "usr/sbin/dmsetup")
    shutil.copytree(tree.root / LIBRARIES, root / LIBRARIES, symlinks=True)
    shutil.copytree(tree.root / "usr/lib64", root / "usr/lib64", symlinks=True)
    found = listed(root, "usr/sbin/dmsetup")
    assert "usr/sbin/dmsetup" in found
    assert {Path(path).name.partition(".")[0] for path in found} > {"libc", "libdevmapper"}
    assert all((root / path).is_file() for path in found)


def test_a_pattern_that_matches_nothing_is_named(root: Path) -> None:
    with pytest.raises(RootfsError, match=r"expected files for usr/bin/caddy"):
        listed(root, "usr/lib/a/*", "usr/bin/caddy")
    assert not (root / READ_AHEAD_LIST).exists()
