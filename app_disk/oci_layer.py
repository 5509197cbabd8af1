"""Layers laid over each other, as a container would see them: files, directories, links, no more.

What could reach outside (absolute paths, `..`), what is not data (devices, pipes), and what readers of
layers understand differently (a path through a link) is refused. Set-user-id bits stay, as part of
what the digest names; a guest mounts the disk nosuid and gives no new privileges, so they do nothing.
File capabilities do nothing either and are left out, since the disk has no extended attributes.

Source: OCI Image Format Specification 1.1, layer.md (whiteouts); POSIX pax; Linux capabilities(7).
"""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING

from app_disk.image import ImageError
from app_disk.layer import Entry

if TYPE_CHECKING:
    from collections.abc import Iterable

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_XATTR = "SCHILY.xattr."
_INERT = frozenset({"SCHILY.xattr.security.capability"})
IDENTITIES = 65536
"""Users and groups that a container's namespace has (`os_image/guest/numbers.py`)."""


@dataclass(slots=True)
class Merged:
    """The layers that were applied so far, the lowest first."""

    scratch: Path
    """Where the contents of files are kept."""
    _found: dict[PurePosixPath, Entry] = field(default_factory=dict)
    _own: set[PurePosixPath] = field(default_factory=set)
    """What the layer that is being applied has brought: its own whiteouts do not hide it."""
    _files: int = 0

    def apply(self, stream: IO[bytes]) -> None:
        """Lay one more layer, a tar stream, over those below.

        Raises:
            ImageError: It holds what a layer must not.
        """
        self._own.clear()
        try:
            with tarfile.open(fileobj=stream, mode="r|", errors="strict") as archive:
                for member in archive:
                    self._add(archive, member)
        except (tarfile.TarError, UnicodeError, ValueError) as exc:
            raise ImageError(f"layer: expected a tar stream: {exc}") from exc

    def entries(self) -> Iterable[Entry]:
        """Everything that is left."""
        return self._found.values()

    def _add(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = _path(member.name)
        if path == PurePosixPath():
            return
        if path.name == _OPAQUE:
            self._hide(path.parent, itself=False)
        elif path.name.startswith(_WHITEOUT):
            hidden = path.name.removeprefix(_WHITEOUT)
            if not hidden or hidden.startswith(_WHITEOUT):
                raise ImageError(f"layer: {path}: expected a whiteout of a name")
            self._hide(path.parent / hidden, itself=True)
        else:
            self._put(self._entry(archive, member, path))

    def _entry(
        self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: PurePosixPath
    ) -> Entry:
        _check_attributes(member, path)
        plain = Entry(path=path, permissions=member.mode & 0o7777, uid=member.uid, gid=member.gid)
        if member.isdir():
            return plain
        if member.issym():
            return replace(plain, target=member.linkname, permissions=None)
        if member.islnk():
            linked = self._found.get(_path(member.linkname))
            if linked is None or linked.source is None:
                raise ImageError(
                    f"layer: {path}: expected a link to a file, got {member.linkname!r}"
                )
            return replace(linked, path=path)
        if member.isreg() and not member.issparse():
            return replace(plain, source=self._content(archive, member))
        raise ImageError(
            f"layer: {path}: expected a file, directory or link, got type {member.type!r}"
        )

    def _content(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Path:
        target = self.scratch / f"file-{self._files}"
        self._files += 1
        content = archive.extractfile(member)
        if content is None:
            raise ImageError(f"layer: {member.name}: expected a file with content")
        with content, target.open("xb") as copy:
            shutil.copyfileobj(content, copy)
        return target

    def _put(self, entry: Entry) -> None:
        for parent in entry.path.parents[:-1]:
            above = self._found.get(parent)
            if above is not None and not _is_directory(above):
                raise ImageError(
                    f"layer: {entry.path}: expected directories above it, got {parent}"
                )
        before = self._found.get(entry.path)
        if before is not None and _is_directory(before) and not _is_directory(entry):
            for below in [path for path in self._found if entry.path in path.parents]:
                del self._found[below]
        self._found[entry.path] = entry
        self._own.add(entry.path)

    def _hide(self, path: PurePosixPath, *, itself: bool) -> None:
        for found in self._found.keys() - self._own:
            if path in found.parents or (itself and found == path):
                del self._found[found]


def _is_directory(entry: Entry) -> bool:
    return entry.source is None and entry.target is None


def _path(name: str) -> PurePosixPath:
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ImageError(f"layer: expected a path inside it, got {name!r}")
    return path


def _check_attributes(member: tarfile.TarInfo, path: PurePosixPath) -> None:
    if not (0 <= member.uid < IDENTITIES and 0 <= member.gid < IDENTITIES):
        raise ImageError(
            f"layer: {path}: expected a user and a group below {IDENTITIES}, "
            f"got {member.uid}:{member.gid}"
        )
    odd = sorted(
        name for name in member.pax_headers if name.startswith(_XATTR) and name not in _INERT
    )
    if odd:
        raise ImageError(f"layer: {path}: expected no extended attributes, got {', '.join(odd)}")
