"""What a Debian package is and holds, read from its file: description, paths, digests, terms.

Nothing of a package runs and nothing is unpacked: these are facts about the bytes that the lock
names, for the list of packages in an image and for its bill of materials.

Source: deb(5); Debian Policy 12.5 for where the copyright file is.
"""

from __future__ import annotations

import hashlib
import io
import lzma
import tarfile
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, ClassVar

from supply_chain.digest import Sha256, sha256_file
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60
_PIECE_BYTES = 1 << 20
"""Far more than any copyright file has."""
_MERGED = frozenset({"bin", "lib", "lib32", "lib64", "libx32", "sbin"})
"""Directories of the root that are links into /usr; older packages still name them."""


class PackageFormatError(BuildError):
    """A file in the store is not a Debian package as Debian makes them today."""

    code: ClassVar[str] = "build.package"


@dataclass(frozen=True, slots=True, kw_only=True)
class PackedFile:
    """A regular file or a symbolic link of a package."""

    digest: Sha256 | None
    """Of a file's content; None for a link."""
    target: str | None
    """Where a link points; None for a file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contents:
    """What a package holds."""

    files: Mapping[str, PackedFile]
    """Files and links by their path in a root where /usr is merged, without a slash before it."""
    copyright: str
    """The package's copyright file; empty when it has none of its own."""


def read_control(deb: Path) -> str:
    """The control file of a Debian package: who it is and what it depends on.

    Raises:
        PackageFormatError: It is not an ar archive with a control member that can be read.
    """
    with deb.open("rb") as file:
        data = file.read(_seek_member(file, deb, "control.tar"))
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            control = tar.extractfile("./control")
            if control is None:
                raise PackageFormatError(f"{deb.name}: expected a file control, got something else")
            return control.read().decode("utf-8")
    except (lzma.LZMAError, tarfile.TarError, EOFError, KeyError, UnicodeDecodeError) as exc:
        raise PackageFormatError(f"{deb.name}: its control archive is malformed: {exc}") from exc


def read_contents(deb: Path, name: str) -> Contents:
    """The files of a Debian package, with their digests.

    Args:
        deb: Its file.
        name: The package's name, by which its copyright file is found.

    Raises:
        PackageFormatError: It is not an ar archive with a data member that can be read.
    """
    files: dict[str, PackedFile] = {}
    terms = b""
    try:
        with deb.open("rb") as file:
            _seek_member(file, deb, "data.tar")
            # As a stream: what is unpacked of some packages is hundreds of megabytes.
            with tarfile.open(fileobj=file, mode="r|*") as tar:
                for info in tar:
                    path = merged(info.name)
                    if info.issym():
                        files[path] = PackedFile(digest=None, target=info.linkname)
                    elif info.islnk():
                        files[path] = files[merged(info.linkname)]
                    elif info.isreg():
                        digest, content = _read_member(tar, info)
                        files[path] = PackedFile(digest=digest, target=None)
                        if path == f"usr/share/doc/{name}/copyright":
                            terms = content
        return Contents(files=files, copyright=terms.decode("utf-8"))
    except (lzma.LZMAError, tarfile.TarError, EOFError, KeyError, UnicodeDecodeError) as exc:
        raise PackageFormatError(f"{deb.name}: its data archive is malformed: {exc}") from exc


def merged(path: str) -> str:
    """Return a path of a package as it is named in a root where /usr is merged."""
    first, *rest = PurePosixPath(path.removeprefix("./").lstrip("/")).parts or ("",)
    return str(PurePosixPath("usr", first, *rest)) if first in _MERGED else "/".join([first, *rest])


def _read_member(tar: tarfile.TarFile, info: tarfile.TarInfo) -> tuple[Sha256, bytes]:
    """Return the digest of a file, and its content as far as it is short."""
    source = tar.extractfile(info)
    if source is None:
        raise tarfile.ReadError(f"{info.name} cannot be read")
    hasher, first = hashlib.sha256(), b""
    while piece := source.read(_PIECE_BYTES):
        hasher.update(piece)
        first = first or piece
    return Sha256(hasher.digest()), first


def _seek_member(file: io.BufferedReader, deb: Path, stem: str) -> int:
    """Go to the content of an ar member, compressed or not; return its length in bytes."""
    if file.read(len(_AR_MAGIC)) == _AR_MAGIC:
        while len(header := file.read(_AR_HEADER_BYTES)) == _AR_HEADER_BYTES:
            name = header[:16].decode("ascii", errors="replace").rstrip(" /")
            size = header[48:58].decode("ascii", errors="replace").strip()
            if not size.isdigit():
                break
            if name in {stem, f"{stem}.xz"}:
                return int(size)
            file.seek(int(size) + int(size) % 2, 1)
    raise PackageFormatError(f"{deb.name}: expected a member {stem} or {stem}.xz")


def read_tree(root: Path) -> dict[str, PackedFile]:
    """The files and links of a directory, by their path in it, as a package would hold them.

    Raises:
        PackageFormatError: Something in it is neither a file, a link nor a directory.
    """
    files = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_symlink():
            files[name] = PackedFile(digest=None, target=str(path.readlink()))
        elif path.is_file():
            files[name] = PackedFile(digest=sha256_file(path), target=None)
        elif not path.is_dir():
            raise PackageFormatError(f"{path}: expected a file, a link or a directory")
    return files
