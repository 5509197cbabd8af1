"""FAT32 file systems for the EFI system partition, from the outside."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError
from supply_chain.inputs.tree import Bind, Tree
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Mapping

CLUSTER_BYTES = 512
"""One sector per cluster: the smallest file system that is FAT32 by its number of clusters."""
MINIMUM_BYTES = 36 << 20
"""Below 65525 clusters EDK II and mtools take a FAT32 for a FAT16 and find it empty."""
_SLACK_BYTES = 2 << 20
"""Room for the two allocation tables' growth, directories and rounding."""
_MIB = 1 << 20

_WORK = "/mnt/work"


class FatError(BuildError):
    """A file cannot be put into the file system."""

    code = "disk.fat"


def fat_size_bytes(content_bytes: int) -> int:
    """Return the size of a file system that holds this much, whole MiB."""
    tables = 2 * 4 * (content_bytes // CLUSTER_BYTES)
    wanted = max(MINIMUM_BYTES, content_bytes + tables + _SLACK_BYTES)
    return -(-wanted // _MIB) * _MIB


def mkfs_argv(image: str, *, size_bytes: int, volume_id: int) -> list[str]:
    """Return the mkfs.vfat command that gives the same empty file system every time."""
    return [
        "mkfs.vfat",
        "-F",
        "32",
        "-s",
        "1",  # see MINIMUM_BYTES
        "--invariant",  # no clock, no random volume id
        "-i",
        f"{volume_id:08x}",
        "-n",
        "ESP",
        "-C",
        image,
        str(size_bytes // 1024),
    ]


def build_fat(image: Path, files: Mapping[str, Path], *, tools: Tree, volume_id: int) -> None:
    """Write a FAT32 image that holds the files under their names, and nothing else.

    Args:
        image: The file to write; an existing one is replaced.
        files: Absolute paths with `/` to the files that they hold; directories are made.
        tools: Where mkfs.vfat, mmd and mcopy are.
        volume_id: 32 bits, instead of a random number.

    Raises:
        FatError: A path is not absolute or leaves the file system.
        CommandError: A tool refused.
    """
    directories = _directories(files)
    size = fat_size_bytes(sum(source.stat().st_size for source in files.values()))
    image.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(dir=image.parent) as name:
        work = Path(name)
        binds = [Bind(host=work, inside=_WORK, read_only=False)]
        tools.run(mkfs_argv(f"{_WORK}/image", size_bytes=size, volume_id=volume_id), binds=binds)
        for directory in directories:
            tools.run(["mmd", "-i", f"{_WORK}/image", f"::{directory}"], binds=binds)
        for path in sorted(files):
            _copy_with_fixed_time(files[path], work / "file")
            # -m keeps the time of the copy, which is the same every time.
            tools.run(
                ["mcopy", "-m", "-i", f"{_WORK}/image", f"{_WORK}/file", f"::{path}"], binds=binds
            )
        (work / "image").replace(image)


def _directories(files: Mapping[str, Path]) -> list[PurePosixPath]:
    directories: set[PurePosixPath] = set()
    for path in map(PurePosixPath, files):
        if not path.is_absolute() or ".." in path.parts or path.name == "":
            raise FatError(
                f"path on the FAT file system: expected an absolute path, got {str(path)!r}"
            )
        directories.update(path.parents[:-1])
    return sorted(directories)


def _copy_with_fixed_time(source: Path, copy: Path) -> None:
    shutil.copyfile(source, copy)
    os.utime(copy, (EPOCH, EPOCH))
