"""cpio archives: unpacked by the locked cpio, which shares no code."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from os_image.cpio import ArchiveError, cpio_archive, directory_entry, file_entry, link_entry
from supply_chain.inputs.tree import Bind, Tree

ENTRIES = [
    file_entry("init", b"#!/bin/sh\n", executable=True),
    file_entry("usr/lib/deep/file", b"content"),
    link_entry("bin", "usr/bin"),
    directory_entry("dev"),
]


@pytest.mark.root
def test_another_program_unpacks_the_same_tree(tmp_path: Path, tools: Tree) -> None:
    tools.run(
        ["cpio", "-idm", "--quiet", "--directory=/mnt/out"],
        binds=[Bind(host=tmp_path, inside="/mnt/out", read_only=False)],
        stdin=cpio_archive(ENTRIES),
    )
    assert (tmp_path / "init").read_bytes() == b"#!/bin/sh\n"
    assert stat.S_IMODE((tmp_path / "init").stat().st_mode) == 0o755
    assert (tmp_path / "usr/lib/deep/file").read_bytes() == b"content"
    assert stat.S_IMODE((tmp_path / "usr/lib/deep/file").stat().st_mode) == 0o644
    assert (tmp_path / "bin").readlink() == Path("usr/bin")
    assert (tmp_path / "dev").is_dir()
    assert (tmp_path / "init").stat().st_mtime == 0


def test_the_order_of_the_entries_does_not_matter() -> None:
    assert cpio_archive(ENTRIES) == cpio_archive(ENTRIES[::-1])


def test_headers_are_aligned_and_named() -> None:
    archive = cpio_archive([file_entry("abc", b"12345")])
    assert archive[:6] == b"070701"
    assert archive[110:114] == b"abc\0"
    assert archive[116:121] == b"12345"
    assert archive[124:130] == b"070701"
    assert b"TRAILER!!!\0" in archive
    assert len(archive) % 512 == 0


def test_one_path_twice_is_refused() -> None:
    with pytest.raises(ArchiveError) as caught:
        cpio_archive([file_entry("a", b"1"), file_entry("a", b"2")])
    assert caught.value.code == "os_image.cpio"
