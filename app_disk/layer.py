"""One image layer as a value: entries with fixed owners and times, in one order.

The same entries give the tar stream that the layer is named by and the directory that it is served
from, so the digest in the image's manifest is that of the bytes that run.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, TYPE_CHECKING, ClassVar

from supply_chain.digest import Sha256
from supply_chain.errors import BuildError
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterable

    from typing_extensions import Buffer

FILE_MODE = 0o644
PROGRAM_MODE = 0o755
DIRECTORY_MODE = 0o755


class LayerError(BuildError):
    """A layer's entries contradict each other or cannot be written."""

    code: ClassVar[str] = "app_disk.layer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file (`source` or `content`), a symbolic link (`target`) or, with none, a directory."""

    path: PurePosixPath
    """Relative to the layer's root."""
    source: Path | None = None
    """The file that holds the content."""
    content: bytes | None = None
    """The content itself, of a file that no package holds."""
    target: str | None = None
    """Where a symbolic link points."""
    executable: bool = False
    """Whether a file has its x bits."""
    permissions: int | None = None
    """The twelve bits of a file or directory, where an image of others says them."""
    uid: int = 0
    gid: int = 0

    def __post_init__(self) -> None:
        """Refuse paths that leave the layer, and entries of two kinds."""
        if self.path.is_absolute() or ".." in self.path.parts or not self.path.parts:
            raise LayerError(f"path in a layer: expected a relative path, got {str(self.path)!r}")
        if sum(part is not None for part in (self.source, self.content, self.target)) > 1:
            raise LayerError(f"{self.path}: expected one of source, content and target, got more")

    @property
    def is_directory(self) -> bool:
        """Whether it is neither a file nor a link."""
        return self.source is None and self.content is None and self.target is None

    def data(self) -> bytes:
        """The content of a file."""
        if self.content is not None:
            return self.content
        return b"" if self.source is None else self.source.read_bytes()

    @property
    def mode(self) -> int:
        """Permission bits."""
        if self.target is not None:
            return 0o777
        if self.permissions is not None:
            return self.permissions
        if self.is_directory:
            return DIRECTORY_MODE
        return PROGRAM_MODE if self.executable else FILE_MODE


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A layer whose content is known."""

    entries: tuple[Entry, ...]
    """Sorted by path; parents come before their children."""
    digest: Sha256
    """Digest of the uncompressed tar stream: the diff id."""
    size_bytes: int
    """Length of the tar stream."""


def build_layer(entries: Iterable[Entry]) -> Layer:
    """The layer of these entries and of the directories that they lie in.

    Raises:
        LayerError: Two entries have one path, or something lies below a file or a link.
    """
    ordered = _complete(entries)
    sink = _HashingSink()
    _write_tar(ordered, sink)
    return Layer(entries=ordered, digest=Sha256(sink.hasher.digest()), size_bytes=sink.size_bytes)


def write_layer_stream(layer: Layer, stream: IO[bytes]) -> None:
    """The tar stream that the layer's digest is of."""
    _write_tar(layer.entries, stream)


def write_layer(layer: Layer, directory: Path) -> None:
    """The layer's content as a directory tree; the build runs as root, and so do most owners."""
    directory.mkdir()
    directory.chmod(DIRECTORY_MODE)
    for entry in layer.entries:
        path = directory / entry.path
        if entry.target is not None:
            path.symlink_to(entry.target)
        elif entry.is_directory:
            path.mkdir()
        elif entry.source is None:
            path.write_bytes(entry.data())
        else:
            shutil.copyfile(entry.source, path)
        if (entry.uid, entry.gid) != (0, 0):
            os.chown(path, entry.uid, entry.gid, follow_symlinks=False)
        if entry.target is None:
            # After the owner: a change of owner takes set-user-id bits away.
            path.chmod(entry.mode)


class _HashingSink(io.BufferedIOBase):
    """A stream that keeps the digest and the length of what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.hasher = hashlib.sha256()
        self.size_bytes = 0

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data).cast("B")
        self.hasher.update(view)
        self.size_bytes += len(view)
        return len(view)


def _write_tar(entries: Iterable[Entry], stream: IO[bytes] | io.BufferedIOBase) -> None:
    # Like USTAR, with room for nothing but name, mode, owner, size, time and target; only a name
    # that is too long for USTAR gets a header of its own.
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        for entry in entries:
            _add(archive, entry)


def _complete(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    by_path: dict[PurePosixPath, Entry] = {}
    for entry in entries:
        if by_path.setdefault(entry.path, entry) != entry:
            raise LayerError(f"{entry.path}: expected one entry of this path, got two")
    for entry in list(by_path.values()):
        for parent in entry.path.parents[:-1]:
            above = by_path.setdefault(parent, Entry(path=parent))
            if not above.is_directory:
                raise LayerError(f"{entry.path}: expected directories above it, got {parent}")
    return tuple(by_path[path] for path in sorted(by_path))


def _add(archive: tarfile.TarFile, entry: Entry) -> None:
    info = tarfile.TarInfo(str(entry.path))
    info.mtime = EPOCH
    info.mode = entry.mode
    info.uid, info.gid = entry.uid, entry.gid
    if entry.target is not None:
        info.type = tarfile.SYMTYPE
        info.linkname = entry.target
        archive.addfile(info)
    elif entry.is_directory:
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    elif entry.source is None:
        data = entry.data()
        info.size = len(data)
        archive.addfile(info, io.BytesIO(data))
    else:
        with entry.source.open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            archive.addfile(info, file)
