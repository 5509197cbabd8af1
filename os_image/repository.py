"""A Debian repository on disk that offers the locked packages and nothing else.

apt takes it without a signature, since each package was compared with its digest in the lock when
it entered the store.
"""

from __future__ import annotations

import io
import lzma
import shutil
import tarfile
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from supply_chain.inputs.lock import DebianPackage
    from supply_chain.inputs.store import Store

_AR_MAGIC = b"!<arch>\n"
_AR_HEADER_BYTES = 60


class PackageFormatError(BuildError):
    """A file in the store is not a Debian package as Debian makes them today."""

    code = "os_image.package"


def write_repository(packages: Iterable[DebianPackage], store: Store, folder: Path) -> None:
    """Fill a directory with the packages and the `Packages` index that names their digests.

    The index holds no dependencies: they were resolved when the lock was made, and what of them
    the image needs is named by its specification.

    Args:
        packages: What to offer; all of it must be in the store.
        store: Where the packages are.
        folder: An empty directory.

    """
    stanzas = []
    for package in packages:
        name = f"{package.sha256.hex}.deb"
        stored = store.path(package.sha256)
        try:
            (folder / name).hardlink_to(stored)
        except OSError:  # the store is on another file system
            shutil.copyfile(stored, folder / name)
        stanzas.append(
            f"Package: {package.name}\nVersion: {package.version}\n"
            f"Architecture: {package.architecture}\nFilename: ./{name}\n"
            f"Size: {package.size}\nSHA256: {package.sha256.hex}\n"
        )
    replace_file(folder / "Packages", "\n".join(stanzas).encode())


def read_control(deb: Path) -> str:
    """The control file of a Debian package: who it is and what it depends on.

    Raises:
        PackageFormatError: It is not an ar archive with a control member that can be read.

    Source: deb(5).
    """
    with deb.open("rb") as file:
        member = _control_member(file)
    if member is None:
        raise PackageFormatError(f"{deb.name}: expected a member control.tar or control.tar.xz")
    name, data = member
    try:
        tar_bytes = lzma.decompress(data) if name.endswith(".xz") else data
        with tarfile.open(fileobj=io.BytesIO(tar_bytes)) as tar:
            control = tar.extractfile("./control")
            if control is None:
                raise PackageFormatError(f"{deb.name}: expected a file control, got something else")
            return control.read().decode("utf-8")
    except (lzma.LZMAError, tarfile.TarError, KeyError, UnicodeDecodeError) as exc:
        raise PackageFormatError(f"{deb.name}: its control archive is malformed: {exc}") from exc


def _control_member(file: io.BufferedReader) -> tuple[str, bytes] | None:
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        return None
    while len(header := file.read(_AR_HEADER_BYTES)) == _AR_HEADER_BYTES:
        name = header[:16].decode("ascii", errors="replace").rstrip(" /")
        size_text = header[48:58].decode("ascii", errors="replace").strip()
        if not size_text.isdigit():
            return None
        if name in {"control.tar", "control.tar.xz"}:
            return name, file.read(int(size_text))
        file.seek(int(size_text) + int(size_text) % 2, 1)
    return None
