"""What the initrd reads before anybody asks for it, while the second processor has nothing to do.

Every block of the root is hashed when it is first read. A program that starts touches its file in
single pages and waits for each of them; the same file read from its beginning to its end takes a
fifth of the time (docs/adr/0004-own-image-builder.md). The list is in the root, and so it is measured; a
file that is missing from it is merely slower.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from os_image import elf
from os_image.own_files import write_file
from os_image.prune import RootfsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

READ_AHEAD_LIST = "usr/lib/blindllama/read-ahead"
"""Paths relative to the root, one per line, in the order in which the initrd reads them."""


def write_read_ahead(root: Path, patterns: Sequence[str]) -> None:
    """Put the list into the root.

    Args:
        root: The finished root file system.
        patterns: Glob patterns of files, in the order of their use; a program brings its libraries.

    Raises:
        RootfsError: A pattern matches no file.
        ElfError: A program's library is missing.
    """
    paths = dict.fromkeys(path for pattern in patterns for path in _matching(root, pattern))
    lines = "".join(f"{path}\n" for path in paths)
    write_file(root / READ_AHEAD_LIST, lines.encode(), root=root)


def _matching(root: Path, pattern: str) -> Iterator[str]:
    found = sorted(path for path in root.glob(pattern) if path.is_file() and not path.is_symlink())
    if not found:
        raise RootfsError(f"read_ahead: expected files for {pattern}, found none")
    for path in found:
        name = path.relative_to(root).as_posix()
        with path.open("rb") as file:
            is_program = elf.is_elf(file.read(len(elf.MAGIC)))
        if is_program:
            yield from elf.library_closure(root, [name])
        yield name
