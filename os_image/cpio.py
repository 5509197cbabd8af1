"""cpio archives as the kernel unpacks them, from a list of entries and nothing else.

Source: Linux, Documentation/driver-api/early-userspace/buffer-format.rst ("newc").
"""

from __future__ import annotations

import stat
from dataclasses import dataclass

from supply_chain.errors import BuildError

_MAGIC = b"070701"
_TRAILER = "TRAILER!!!"


class ArchiveError(BuildError):
    """The entries cannot be made into an archive."""

    code = "os_image.cpio"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file, directory or symbolic link, owned by root."""

    path: str
    """Relative, without a leading `/` or `./`."""
    mode: int
    """Kind and permission bits, as in `st_mode`."""
    content: bytes = b""
    """The file's bytes, or where a symbolic link points to."""


def file_entry(path: str, content: bytes, *, executable: bool = False) -> Entry:
    """A file with the mode 0644, or 0755 when it is a program."""
    permissions = 0o755 if executable else 0o644
    return Entry(path=path, mode=stat.S_IFREG | permissions, content=content)


def directory_entry(path: str) -> Entry:
    """A directory with the mode 0755."""
    return Entry(path=path, mode=stat.S_IFDIR | 0o755)


def link_entry(path: str, target: str) -> Entry:
    """A symbolic link."""
    return Entry(path=path, mode=stat.S_IFLNK | 0o777, content=target.encode())


def cpio_archive(entries: list[Entry]) -> bytes:
    """The archive that holds the entries and the directories above them, sorted by path.

    Inode numbers count from 1, times are 0, the owner is root: no byte depends on where or when
    it was made.

    Raises:
        ArchiveError: Two entries have the same path.
    """
    by_path = {entry.path: entry for entry in entries}
    if len(by_path) != len(entries):
        raise ArchiveError("cpio archive: expected each path once")
    for entry in entries:
        parts = entry.path.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            parent = "/".join(parts[:depth])
            by_path.setdefault(parent, directory_entry(parent))
    ordered = [by_path[path] for path in sorted(by_path)]
    members = [_member(entry, inode) for inode, entry in enumerate(ordered, start=1)]
    trailer = _member(Entry(path=_TRAILER, mode=0), 0)
    return _padded(b"".join([*members, trailer]), 512)


def _member(entry: Entry, inode: int) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (
        *(inode, entry.mode, 0, 0, links, 0, len(entry.content)),
        *(0, 0, 0, 0, len(name), 0),  # devices, length of the name, checksum (unused in newc)
    )
    header = _MAGIC + b"".join(b"%08X" % field for field in fields)
    return _padded(header + name, 4) + _padded(entry.content, 4)


def _padded(data: bytes, unit: int) -> bytes:
    return data + bytes(-len(data) % unit)
