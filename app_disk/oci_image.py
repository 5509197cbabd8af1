"""An image that an application brings itself: verified, its layers laid over each other, refused if odd.

A guest reads one directory per image, so layers are put together when the disk is built. Manifest and
configuration stay as they are, byte for byte: the image keeps the digest by which manifests name it.

Source: OCI Image Format Specification 1.1, manifest.md, config.md and layer.md.
"""

from __future__ import annotations

import gzip
import hashlib
import zlib
from typing import IO, TYPE_CHECKING, Annotated, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from app_disk.image import Image, ImageError
from app_disk.layer import LayerError, build_layer
from app_disk.oci_layer import Merged
from app_disk.oci_layout import ImageLayout
from supply_chain.digest import Sha256
from supply_chain.errors import faults

if TYPE_CHECKING:
    from pathlib import Path

_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_INDEX = "application/vnd.oci.image.index.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_GZIP = f"{_LAYER}+gzip"
_LAYER_LIMIT = 16 << 30
"""Bytes of a layer when it is unpacked."""
_CHUNK = 1 << 20

_DigestText = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]


class _Wire(BaseModel):
    # What else a manifest says (annotations, history) does not change what runs.
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Descriptor(_Wire):
    media_type: Annotated[str, Field(alias="mediaType")]
    digest_text: Annotated[_DigestText, Field(alias="digest")]
    size: Annotated[int, Field(ge=0, le=_LAYER_LIMIT)]

    @property
    def digest(self) -> Sha256:
        """Of the blob."""
        return _digest(self.digest_text)


class _Manifest(_Wire):
    schema_version: Annotated[Literal[2], Field(alias="schemaVersion")]
    media_type: Annotated[str, Field(alias="mediaType")] = _MANIFEST
    config: _Descriptor | None = None
    layers: tuple[_Descriptor, ...] = ()


class _RootFs(_Wire):
    type: Literal["layers"]
    diff_ids: tuple[_DigestText, ...]


class _Execution(_Wire):
    volumes: Annotated[dict[str, object] | None, Field(alias="Volumes")] = None


class _Config(_Wire):
    architecture: str
    os: str
    config: _Execution = _Execution()
    rootfs: _RootFs


def read_image(layout: ImageLayout, name: str, digest: Sha256, scratch: Path) -> Image:
    """The image of this digest in a layout, with all of its layers as one.

    Args:
        layout: Where it lies.
        name: Registry host and repository, by which manifests call it.
        digest: Of its manifest.
        scratch: An existing directory for the files' contents; they must outlive the image.

    Raises:
        ImageError: It is for another machine, wants what a guest does not give, or holds what a
            layer must not.
        LayoutError: A blob is missing, or other bytes.
    """
    raw = layout.read_json(digest, f"the manifest of {name}")
    manifest = _parsed(_Manifest, raw, f"{name}: manifest")
    if manifest.media_type != _MANIFEST or manifest.config is None:
        raise ImageError(
            f"{name}@{digest}: expected the manifest of an image ({_MANIFEST}), got "
            f"{manifest.media_type}; name the digest of the image for linux/amd64"
            + (" in this index" if manifest.media_type == _INDEX else "")
        )
    config_raw = layout.read_json(manifest.config.digest, f"the configuration of {name}")
    config = _parsed(_Config, config_raw, f"{name}: configuration")
    _check_config(name, config, layers=len(manifest.layers))
    merged = Merged(scratch)
    for number, (blob, diff_id) in enumerate(
        zip(manifest.layers, config.rootfs.diff_ids, strict=True)
    ):
        layer = scratch / f"layer-{number}.tar"
        _unpack(layout, blob, _digest(diff_id), layer)
        with layer.open("rb") as stream:
            merged.apply(stream)
        layer.unlink()
    try:
        whole = build_layer(merged.entries())
    except LayerError as exc:
        raise ImageError(f"{name}: {exc}") from exc
    return Image(name=name, layer=whole, config=config_raw, manifest=raw, origin=layout.path)


def _check_config(name: str, config: _Config, *, layers: int) -> None:
    if (config.os, config.architecture) != ("linux", "amd64"):
        raise ImageError(
            f"{name}: expected an image for linux/amd64, got {config.os}/{config.architecture}"
        )
    if config.config.volumes:
        raise ImageError(
            f"{name}: expected an image without VOLUME, got {sorted(config.config.volumes)}; "
            "what a container may write to is an emptyDir of its pod"
        )
    if len(config.rootfs.diff_ids) != layers or not layers:
        raise ImageError(
            f"{name}: expected a diff id for each layer, got {len(config.rootfs.diff_ids)} for "
            f"{layers}"
        )


def _unpack(layout: ImageLayout, blob: _Descriptor, diff_id: Sha256, target: Path) -> None:
    """The layer's tar stream in the new file `target`, once it is what the configuration says."""
    if blob.media_type not in {_LAYER, _GZIP}:
        raise ImageError(
            f"layer {blob.digest}: expected {_LAYER}, alone or with +gzip, got {blob.media_type}; "
            "`skopeo copy --dest-compress-format gzip` rewrites it"
        )
    packed = target.with_suffix(".blob")
    layout.copy_blob(blob.digest, blob.size, packed)
    try:
        with packed.open("rb") as stream, target.open("xb") as copy:
            if blob.media_type == _GZIP:
                with gzip.open(stream) as unzipped:
                    got = _copy_hashed(unzipped, copy)
            else:
                got = _copy_hashed(stream, copy)
    except (OSError, EOFError, zlib.error) as exc:
        raise ImageError(f"layer {blob.digest}: expected gzip: {exc}") from exc
    finally:
        packed.unlink()
    if got != diff_id:
        raise ImageError(f"layer {blob.digest}: expected the diff id {diff_id}, got {got}")


def _digest(text: str) -> Sha256:
    return Sha256.from_hex(text.removeprefix("sha256:"))


def _copy_hashed(source: IO[bytes] | gzip.GzipFile, target: IO[bytes]) -> Sha256:
    hasher, left = hashlib.sha256(), _LAYER_LIMIT
    while chunk := source.read(_CHUNK):
        left -= len(chunk)
        if left < 0:
            raise ImageError(f"a layer: expected at most {_LAYER_LIMIT} bytes, got more")
        hasher.update(chunk)
        target.write(chunk)
    return Sha256(hasher.digest())


_Model = TypeVar("_Model", bound=_Wire)


def _parsed(model: type[_Model], data: bytes, what: str) -> _Model:
    try:
        return model.model_validate_json(data)
    except ValidationError as exc:
        raise ImageError(f"{what}: {faults(exc)}") from exc
