"""Images as OCI archives, the form that k3s imports: one file each, the same bytes every time.

Source: OCI Image Format Specification 1.1, image-layout.md; containerd, `io.containerd.image.name`.
"""

from __future__ import annotations

import io
import json
import tarfile
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from app_disk.layer import write_layer_stream
from app_disk.oci_layout import ImageLayout
from supply_chain.digest import Sha256
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app_disk.image import Image

_INDEX = "application/vnd.oci.image.index.v1+json"
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def write_archives(images: Sequence[Image], folder: Path) -> None:
    """Each image as an archive `NAME.tar` in the new directory `folder`.

    An image that an application brings is written with its own layers, byte for byte.

    Raises:
        LayoutError: What it was brought in has changed since it was read.
    """
    folder.mkdir()
    for image in images:
        write_archive(image, folder / f"{image.name.replace('/', '_').replace(':', '_')}.tar")


def write_archive(image: Image, path: Path) -> None:
    """One image as an archive.

    Raises:
        LayoutError: As for several.
    """
    index = {
        "schemaVersion": 2,
        "mediaType": _INDEX,
        "manifests": [
            {
                "mediaType": _MANIFEST,
                "digest": str(image.digest),
                "size": len(image.manifest),
                # By this name, digest included, a pod asks for it.
                "annotations": {"io.containerd.image.name": image.reference},
            }
        ],
    }
    with tempfile.TemporaryDirectory(dir=path.parent) as scratch:
        layers = _layers(image, Path(scratch))
        with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as archive:
            _add(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
            _add(archive, "index.json", json.dumps(index, sort_keys=True).encode())
            _add(archive, f"blobs/sha256/{image.image_id.hex}", image.config)
            _add(archive, f"blobs/sha256/{image.digest.hex}", image.manifest)
            for digest, blob in layers.items():
                _add(archive, f"blobs/sha256/{digest}", blob)


def _layers(image: Image, scratch: Path) -> dict[str, Path]:
    """The files of the layers that the manifest names, by digest in hex."""
    found = {}
    for described in json.loads(image.manifest)["layers"]:
        name = described["digest"].removeprefix("sha256:")
        found[name] = scratch / name
        if found[name].exists():
            continue
        if image.origin is None:
            with found[name].open("xb") as stream:
                write_layer_stream(image.layer, stream)
        else:
            ImageLayout(image.origin).copy_blob(
                Sha256.from_hex(name), described["size"], found[name]
            )
    return found


def _add(archive: tarfile.TarFile, name: str, content: bytes | Path) -> None:
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = EPOCH, 0o644
    if isinstance(content, bytes):
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    else:
        member.size = content.stat().st_size
        with content.open("rb") as stream:
            archive.addfile(member, stream)
