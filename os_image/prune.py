"""What leaves the root file system: everything that the specification does not name.

Programs and units are lists of what stays; for files that are only read, a list of what goes is
enough, since nothing runs them.
"""

from __future__ import annotations

import os
import shutil
import stat
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

from os_image import elf
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from os_image.spec import OsImageSpec

UNITS = "usr/lib/systemd/system"
MOUNT_POINTS = ("dev", "proc", "run", "sys", "tmp", "var")
"""Directories of the root that something is mounted over."""
TOP = frozenset({*MOUNT_POINTS, "bin", "etc", "lib", "lib64", "root", "sbin", "usr"})
"""All that is in the root itself."""
SHELLS = frozenset(
    {"agetty", "ash", "bash", "busybox", "dash", "dpkg", "getty", "login", "perl", "sh", "sshd"}
    | {"su", "sudo", "sulogin"}
)
"""Programs through which somebody could give orders to a guest, or change what is installed."""
_LIBRARIES = ("usr/lib/x86_64-linux-gnu/*", "usr/lib64/*")


class RootfsError(BuildError):
    """What the specification names is not there, or what is there must not be."""

    code = "os_image.rootfs"


def prune(root: Path, spec: OsImageSpec) -> None:
    """Remove from a root file system what the specification does not name.

    Raises:
        RootfsError: A program or unit that the specification names is not there.
    """
    for path in sorted(root.iterdir()):
        if path.name not in TOP:
            _remove(path)
    for pattern in spec.rootfs.remove:
        for path in sorted(root.glob(pattern)):
            _remove(path)
    _prune_programs(root, spec.programs)
    _prune_units(root / UNITS, frozenset(spec.rootfs.units))
    for name in ("etc", "usr"):
        _prune_empty(root / name)
    for name in MOUNT_POINTS:
        (root / name).mkdir(exist_ok=True)
        (root / name).chmod(0o755)


def check(root: Path, spec: OsImageSpec) -> None:
    """Return when every program finds its libraries and nothing stayed that must not.

    Raises:
        ElfError: A library is missing.
        RootfsError: A production image has a shell, or a program has the rights of another user.
    """
    programs = []
    for path, status in _files(root):
        if status.st_mode & (stat.S_ISUID | stat.S_ISGID):
            raise RootfsError(f"{path}: expected no set-user-id bit, got mode {status.st_mode:o}")
        with (root / path).open("rb") as file:
            if elf.is_elf(file.read(len(elf.MAGIC))) and not path.endswith(".ko"):
                programs.append(path)
    elf.library_closure(root, programs)
    shells = [path for path, _ in _files(root, links=True) if Path(path).name in SHELLS]
    if shells and not spec.debug:
        raise RootfsError(f"production image: expected no shell or login, got {', '.join(shells)}")


def _prune_programs(root: Path, patterns: Sequence[str]) -> None:
    kept = set()
    for path, status in list(_files(root, links=True)):
        if any(fnmatchcase(path, pattern) for pattern in _LIBRARIES):
            continue
        is_link = stat.S_ISLNK(status.st_mode)
        matching = [pattern for pattern in patterns if fnmatchcase(path, pattern)]
        kept.update(matching)
        if matching and not is_link:
            (root / path).chmod(0o755)  # no set-user-id: nobody here may become another
        elif path.endswith(".py") and not is_link:
            (root / path).chmod(0o644)  # a module that could also be run; nothing here runs it
        elif not matching and _is_program(path, status):
            (root / path).unlink()
    if missing := [pattern for pattern in patterns if pattern not in kept]:
        raise RootfsError(f"programs: expected {', '.join(missing)}, found nothing of that name")


def _is_program(path: str, status: os.stat_result) -> bool:
    if stat.S_ISLNK(status.st_mode):
        return Path(path).parent.name in {"bin", "sbin"}
    return bool(status.st_mode & stat.S_IXUSR)


def _prune_units(folder: Path, names: frozenset[str]) -> None:
    kept = set()
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.is_symlink():
            wants = path.suffix in {".wants", ".requires"}
            for inner in sorted(path.iterdir()):
                if not wants or inner.name not in names:
                    _remove(inner)
        elif path.name in names:
            kept.add(path.name)
        else:
            path.unlink()
    if missing := sorted(names - kept):
        raise RootfsError(f"units: expected {', '.join(missing)}, found nothing of that name")


def _prune_empty(folder: Path) -> None:
    for name, _directories, _names in os.walk(folder, topdown=False):
        path = Path(name)
        if path != folder and not any(path.iterdir()):
            path.rmdir()


def _files(root: Path, *, links: bool = False) -> Iterator[tuple[str, os.stat_result]]:
    for folder, directories, names in os.walk(root):
        directories.sort()
        for name in sorted([*names, *directories]):
            path = Path(folder) / name
            status = path.lstat()
            if stat.S_ISREG(status.st_mode) or (links and stat.S_ISLNK(status.st_mode)):
                yield str(path.relative_to(root)), status


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
