"""A read-only image store that podman reads in place: no load, no copy, no registry.

containers/storage keeps images in a plain directory: two JSON indexes, the image's config and
manifest beside them, and each layer as a directory. `podman load` writes random link names and the
current time into it, so it is written here, the same bytes every time. Guests name it as
`additionalimagestores`; every read of a layer then goes through dm-verity.

Source: containers/storage 1.57, images.go, layers.go and drivers/overlay/overlay.go, and a store that
podman 5.4.2 wrote.
"""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

from app_disk.image import CREATED, ImageError
from app_disk.layer import write_layer
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from app_disk.image import Image

_LINK_CHARACTERS = 26
"""Layers are mounted by short links, since mount(2) takes one page of options for all of them."""


def write_store(images: Sequence[Image], root: Path) -> None:
    """The store of these images in the new directory `root`.

    Raises:
        ImageError: Two of them are the same image under two names.
    """
    ordered = sorted(images, key=lambda image: image.name)
    if len({image.image_id for image in ordered}) != len(ordered):
        raise ImageError(f"expected different images, got {[image.name for image in ordered]}")
    layers = {image.layer.digest: image.layer for image in ordered}
    for name in ("overlay/l", "overlay-images", "overlay-layers"):
        (root / name).mkdir(parents=True)
    for digest, layer in sorted(layers.items()):
        home = root / "overlay" / digest.hex
        home.mkdir()
        write_layer(layer, home / "diff")
        link = link_name(digest.hex)
        (home / "link").write_text(link, encoding="ascii")
        (root / "overlay" / "l" / link).symlink_to(f"../{digest.hex}/diff")
    for image in ordered:
        _write_image(image, root / "overlay-images" / image.image_id.hex)
    _write_index(root / "overlay-images" / "images.json", [_image_record(i) for i in ordered])
    _write_index(
        root / "overlay-layers" / "layers.json",
        [_layer_record(digest.hex, layer.size_bytes) for digest, layer in sorted(layers.items())],
    )
    # A store that cannot be written to must have its lock files already.
    for name in ("storage.lock", "overlay-images/images.lock", "overlay-layers/layers.lock"):
        (root / name).write_bytes(b"")


def link_name(layer: str) -> str:
    """The short name of a layer, 26 capitals and digits; podman draws it at random."""
    digest = sha256_bytes(b"blindllama layer link\0" + layer.encode("ascii"))
    return base64.b32encode(digest.bytes).decode("ascii")[:_LINK_CHARACTERS]


def _big_data(image: Image) -> dict[str, bytes]:
    return {
        "manifest": image.manifest,
        f"manifest-{image.digest}": image.manifest,
        str(image.image_id): image.config,
    }


def _write_image(image: Image, home: Path) -> None:
    home.mkdir()
    for key, data in _big_data(image).items():
        (home / _file_name(key)).write_bytes(data)


def _file_name(key: str) -> str:
    # containers/storage spells a key as base64 unless it is made of letters and digits alone.
    if key.isalnum():
        return key
    return "=" + base64.b64encode(key.encode("ascii")).decode("ascii")


def _image_record(image: Image) -> dict[str, Any]:
    data = _big_data(image)
    return {
        "id": image.image_id.hex,
        "digest": str(image.digest),
        "names": list(image.names),
        "layer": image.layer.digest.hex,
        "metadata": "{}",
        "big-data-names": sorted(data),
        "big-data-sizes": {key: len(value) for key, value in data.items()},
        "big-data-digests": {key: str(sha256_bytes(value)) for key, value in data.items()},
        "created": CREATED,
    }


def _layer_record(digest: str, size_bytes: int) -> dict[str, Any]:
    return {
        "id": digest,
        "created": CREATED,
        "compressed-diff-digest": f"sha256:{digest}",
        "compressed-size": size_bytes,
        "diff-digest": f"sha256:{digest}",
        "diff-size": size_bytes,
        "uidset": [0],
        "gidset": [0],
    }


def _write_index(path: Path, records: list[dict[str, Any]]) -> None:
    path.write_text(json.dumps(records, sort_keys=True, separators=(",", ":")), encoding="ascii")
