from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path, PurePosixPath

import pytest

from app_disk.layer import Entry, LayerError, build_layer, write_layer
from supply_chain.digest import sha256_bytes, sha256_tree
from supply_chain.workspace import EPOCH


@pytest.fixture
def entries(tmp_path: Path) -> list[Entry]:
    source = tmp_path / "source"
    source.write_bytes(b"content")
    source.chmod(0o600)
    return [
        Entry(path=PurePosixPath("usr/bin/tool"), source=source, executable=True),
        Entry(path=PurePosixPath("usr/share/doc/a-rather-long-name/copyright"), source=source),
        Entry(path=PurePosixPath("bin"), target="usr/bin"),
        Entry(path=PurePosixPath("tmp")),
    ]


def test_a_layer_depends_on_neither_order_nor_the_files_own_attributes(
    entries: list[Entry],
) -> None:
    one = build_layer(entries)
    source = entries[0].source
    assert source is not None
    source.chmod(0o777)
    os.utime(source, (1, 1))

    assert build_layer(reversed(entries)) == one


def test_the_digest_is_that_of_the_tar_stream(entries: list[Entry], tmp_path: Path) -> None:
    layer = build_layer(entries)
    write_layer(layer, tmp_path / "diff")
    stream = io.BytesIO()
    # The stream, made a second time from what was written instead of from the sources.
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for entry in layer.entries:
            info = archive.gettarinfo(tmp_path / "diff" / entry.path, arcname=str(entry.path))
            info.uid = info.gid = 0
            info.uname = info.gname = ""
            info.mtime = EPOCH
            content = (tmp_path / "diff" / entry.path).read_bytes() if info.isreg() else b""
            archive.addfile(info, io.BytesIO(content))

    assert sha256_bytes(stream.getvalue()) == layer.digest
    assert len(stream.getvalue()) == layer.size_bytes


def test_the_directory_does_not_depend_on_the_umask(entries: list[Entry], tmp_path: Path) -> None:
    layer = build_layer(entries)
    write_layer(layer, tmp_path / "one")
    before = os.umask(0o077)
    try:
        write_layer(layer, tmp_path / "two")
    finally:
        os.umask(before)

    assert sha256_tree(tmp_path / "one") == sha256_tree(tmp_path / "two")


@pytest.mark.parametrize("path", ["/etc/passwd", "../outside", "a/../../outside", "."])
def test_a_path_that_leaves_the_layer_is_refused(path: str) -> None:
    with pytest.raises(LayerError) as caught:
        Entry(path=PurePosixPath(path))

    assert caught.value.code == "app_disk.layer"


def test_an_entry_of_two_kinds_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LayerError) as caught:
        Entry(path=PurePosixPath("a"), source=tmp_path, target="b")

    assert caught.value.code == "app_disk.layer"


def test_one_path_twice_is_refused(entries: list[Entry]) -> None:
    with pytest.raises(LayerError, match="got two") as caught:
        build_layer([*entries, Entry(path=PurePosixPath("bin"), target="usr/sbin")])

    assert caught.value.code == "app_disk.layer"


def test_nothing_lies_below_a_link(entries: list[Entry]) -> None:
    with pytest.raises(LayerError, match="expected directories above") as caught:
        build_layer([*entries, Entry(path=PurePosixPath("bin/sub"))])

    assert caught.value.code == "app_disk.layer"
