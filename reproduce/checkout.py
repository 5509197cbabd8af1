"""A copy of the checkout for a second build: the tracked files, in another order, of another time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from reproduce.surroundings import SOURCES_TIME
from supply_chain import process
from supply_chain.errors import CommandError, MissingToolError

if TYPE_CHECKING:
    from collections.abc import Iterable

_NOT_SOURCES = frozenset({".git", ".venv", ".cache", "build", "dist", "__pycache__"})
"""What a checkout holds besides its sources."""
_PRIVATE = 0o700
"""What other users may do with a source must not reach an artefact."""


def copy_checkout(root: Path, target: Path) -> None:
    """Copy the sources of a checkout into a new folder; what was never added to it stays behind.

    The copy is private to its owner, older than everything, and was written in reverse order.
    """
    target.mkdir(parents=True)
    for name in sorted(source_files(root), reverse=True):
        source, copy = root / name, target / name
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, copy, follow_symlinks=False)
        if not source.is_symlink():
            copy.chmod(source.stat().st_mode & _PRIVATE)
        os.utime(copy, (SOURCES_TIME, SOURCES_TIME), follow_symlinks=False)


def source_files(root: Path) -> list[str]:
    """Return the sources of a checkout, relative; what git tracks where there is a git."""
    found = _tracked(root)
    if found is None:
        found = (
            path.relative_to(root).as_posix()
            for path in root.rglob("*")
            if path.is_symlink() or path.is_file()
        )
    return [name for name in found if not _NOT_SOURCES & set(PurePosixPath(name).parts)]


def give(folder: Path, user: int) -> None:
    """Make a user the owner of a folder and of everything in it."""
    for place, folders, files in os.walk(folder):
        for name in (".", *folders, *files):
            os.chown(Path(place) / name, user, user, follow_symlinks=False)


def _tracked(root: Path) -> Iterable[str] | None:
    """Return what git tracks and still is there; None without a git or a repository."""
    if not (root / ".git").exists():
        return None
    # The checkout may belong to the user who runs sudo, which git would refuse.
    argv = ["git", "-c", "safe.directory=*", "-C", str(root), "ls-files", "-z"]
    try:
        listed = process.run(argv).stdout.decode()
    except (CommandError, MissingToolError):
        return None
    names = filter(None, listed.split("\0"))
    return [name for name in names if (root / name).is_symlink() or (root / name).exists()]
