"""OCI image layouts, as a directory or as one tar archive: blobs by digest, and nothing believed.

The index of a layout names its images by tags; it is never read. A manifest says which image it means
by digest, and every byte is compared with the digest by which it was asked for.

Source: OCI Image Format Specification 1.1, image-layout.md; containers-transports(5), oci-archive.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, ClassVar

from app_disk.image import ImageError
from supply_chain.digest import Sha256, sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LAYOUT = "oci-layout"
_JSON_LIMIT = 4 << 20
"""Bytes of a manifest or a configuration."""
_CHUNK = 1 << 20


class LayoutError(ImageError):
    """An image layout is malformed, or lacks a blob, or its bytes are not those of their digest."""

    code: ClassVar[str] = "app_disk.image_layout"


@dataclass(frozen=True, slots=True)
class ImageLayout:
    """A layout that was found."""

    path: Path
    """Its directory, or its archive."""

    def has(self, digest: Sha256) -> bool:
        """Whether it holds a blob.

        Raises:
            LayoutError: It is an archive that cannot be read.
        """
        try:
            with self._opened(_blob(digest)):
                return True
        except KeyError:
            return False

    def read_json(self, digest: Sha256, what: str) -> bytes:
        """A manifest or a configuration, once it is what its digest says.

        Raises:
            LayoutError: It is not there, too long, or other bytes.
        """
        try:
            with self._opened(_blob(digest)) as stream:
                data = stream.read(_JSON_LIMIT + 1)
        except KeyError:
            raise LayoutError(f"{self.path.name}: expected {what} {digest}, got none") from None
        if len(data) > _JSON_LIMIT or sha256_bytes(data) != digest:
            raise LayoutError(f"{self.path.name}: expected {what} {digest}, got other bytes")
        return data

    def copy_blob(self, digest: Sha256, size_bytes: int, target: Path) -> None:
        """A blob's bytes in the new file `target`, once they are what its digest says.

        Raises:
            LayoutError: It is not there, of another length, or other bytes.
        """
        hasher, left = hashlib.sha256(), size_bytes
        try:
            with self._opened(_blob(digest)) as stream, target.open("xb") as copy:
                # One byte more than there may be, so that a longer blob is not taken for its start.
                while chunk := stream.read(min(_CHUNK, left + 1)):
                    left -= len(chunk)
                    if left < 0:
                        break
                    hasher.update(chunk)
                    copy.write(chunk)
        except KeyError:
            raise LayoutError(f"{self.path.name}: expected layer {digest}, got none") from None
        if left != 0 or hasher.digest() != digest.bytes:
            raise LayoutError(f"{self.path.name}: expected layer {digest}, got other bytes")

    @contextmanager
    def _opened(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file of the layout; `KeyError` when there is none."""
        if self.path.is_dir():
            try:
                stream = (self.path / name).open("rb")
            except (FileNotFoundError, NotADirectoryError):
                raise KeyError(name) from None
            with stream:
                yield stream
            return
        try:
            with tarfile.open(self.path, "r:") as archive:
                member = archive.extractfile(archive.getmember(name))
                if member is None:
                    raise KeyError(name)
                with member:
                    yield member
        except tarfile.TarError as exc:
            raise LayoutError(
                f"{self.path.name}: expected an OCI archive, a plain tar: {exc}"
            ) from exc


def find_layouts(folder: Path) -> tuple[ImageLayout, ...]:
    """The layouts in a folder, by name: its directories and its `*.tar` files.

    Raises:
        LayoutError: Something else is in it, or one is not a layout of version 1.
    """
    if not folder.is_dir():
        return ()
    layouts = []
    for path in sorted(folder.iterdir()):
        if not path.is_dir() and path.suffix != ".tar":
            raise LayoutError(f"images/{path.name}: expected a directory or a .tar, got neither")
        layout = ImageLayout(path)
        _check_version(layout)
        layouts.append(layout)
    return tuple(layouts)


def _check_version(layout: ImageLayout) -> None:
    try:
        with layout._opened(_LAYOUT) as stream:  # noqa: SLF001 - the same module
            document = json.loads(stream.read(_JSON_LIMIT))
        version = document["imageLayoutVersion"]
    except (KeyError, TypeError, ValueError) as exc:
        raise LayoutError(
            f"images/{layout.path.name}: expected an OCI layout with its file {_LAYOUT}; "
            "`skopeo copy … oci-archive:FILE.tar` makes one"
        ) from exc
    if not str(version).startswith("1."):
        raise LayoutError(
            f"images/{layout.path.name}: expected OCI layout version 1, got {version}"
        )


def _blob(digest: Sha256) -> str:
    return f"blobs/sha256/{digest.hex}"
