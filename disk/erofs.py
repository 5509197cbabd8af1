"""Read-only erofs file systems from a directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supply_chain.inputs.tree import Bind, Tree

if TYPE_CHECKING:
    from pathlib import Path
    from uuid import UUID

_SOURCE = "/mnt/source"
_OUT = "/mnt/out"


def erofs_argv(source: str, image: str, *, uuid: UUID, epoch: int) -> list[str]:
    """Return the mkfs.erofs command that gives the same image for the same tree.

    Owners and modes come from the tree itself: `--all-root` would lose the ones that services need.
    """
    return [
        # It prefers this variable to -T, and then leaves the times of older files as they are.
        "env",
        "--unset=SOURCE_DATE_EPOCH",
        "mkfs.erofs",
        "--quiet",
        "-zlz4hc,level=9",  # "-zlz4hc,9" is refused without a word when --quiet is given
        "-C65536",  # a quarter smaller than with the default of 4 KiB
        f"-T{epoch}",  # one time stamp for the superblock and, with --all-time, for every inode
        "--all-time",
        f"-U{uuid}",  # a random one by default
        "-x-1",  # extended attributes depend on the file system that holds the tree
        image,
        source,
    ]


def build_erofs(source: Path, image: Path, *, tools: Tree, uuid: UUID, epoch: int) -> None:
    """Write the tree under `source` into the erofs image `image`, whole blocks of 4096 bytes.

    Args:
        source: The directory that becomes the root, with the owners that it shall have.
        image: The file to write; an existing one is replaced.
        tools: Where mkfs.erofs is.
        uuid: The identity of the file system.
        epoch: The time of every inode, in seconds since 1970.

    Raises:
        CommandError: mkfs.erofs refused.
    """
    image.unlink(missing_ok=True)
    tools.run(
        erofs_argv(_SOURCE, f"{_OUT}/{image.name}", uuid=uuid, epoch=epoch),
        binds=[
            Bind(host=source, inside=_SOURCE, read_only=True),
            Bind(host=image.parent, inside=_OUT, read_only=False),
        ],
    )
