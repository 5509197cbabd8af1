"""The application's disk: manifests, images and engine, read through one verity tree.

The file system's root, mounted by the guest at `/run/app`:

    /app.json                 where the application listens and which image its pods rest on
    /manifests/app.yaml       the Kubernetes objects, images by digest
    /network.nft              the NetworkPolicy as nftables rules
    /images/                  a read-only image store for podman
    /engine/model.gguf        the model
    /engine/manifest.json     what it is and was made from
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from app_disk.descriptor import canonical_json, describe_tree
from app_disk.image import Image, pause_image, server_image
from app_disk.manifest import App, Fault, ManifestError, parse_app, render_app
from app_disk.network import check_network, network_rules
from app_disk.store import write_store
from disk.erofs import build_erofs
from disk.gpt import LINUX_DATA_TYPE, Partition, verity_partition_guids, write_gpt
from disk.verity import build_verity, verity_salt
from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import BuildError, DigestMismatchError
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from disk.verity import VerityTree
    from supply_chain.inputs.tree import Tree
    from supply_chain.progress import Progress

DISK = "app.img"
DESCRIPTION = "app-disk.json"

DATA_NAME = "app"
TREE_NAME = "app-verity"
"""The names by which the guest finds the two partitions."""

_FILE_SYSTEM = UUID("6f0c4b1e-2c5b-5d3f-9a57-8b0f1a6c2d01")
_DISK_GUID = UUID("6f0c4b1e-2c5b-5d3f-9a57-8b0f1a6c2d02")
"""Fixed: identity comes from the root hash alone."""


class AppDiskError(BuildError):
    """The parts of an application's disk do not fit together."""

    code: ClassVar[str] = "app_disk"


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDisk:
    """A built disk."""

    image: Path
    """The disk, `app.img`."""
    description: Path
    """What is on it, `app-disk.json`."""
    descriptor: bytes
    """The bytes whose SHA-256 the guest extends into PCR 15."""
    images: tuple[Image, ...]
    """The container images on it."""


def build_app_disk(
    app: Path,
    *,
    engine: Path,
    llama: Tree,
    pause: Tree,
    tools: Tree,
    out: Path,
    progress: Progress,
) -> AppDisk:
    """The disk of an application in the directory `out`: `app.img` and `app-disk.json`.

    Args:
        app: The directory of its Kubernetes manifests, `*.yaml`.
        engine: The directory of its engine, `model.gguf` and `manifest.json`.
        llama: The root that holds llama-server.
        pause: The root that holds catatonit.
        tools: The root that holds mkfs.erofs and veritysetup.
        out: An existing directory.
        progress: Where the work is told.

    Raises:
        ManifestError: The manifests ask for what a guest does not do.
        ImageError: An image cannot be made from its packages.
        AppDiskError: There is no engine, or its manifest is malformed.
        DigestMismatchError: The model is not the one that the engine's manifest names.
        CommandError: A tool failed.
    """
    source = read_app(app)
    check_network(source)
    check_engine(engine)
    with progress.step("app disk: images"):
        images = (server_image(llama), pause_image(pause))
    with tempfile.TemporaryDirectory(prefix=".app-disk-", dir=out) as name:
        stage = Path(name) / "root"
        with progress.step("app disk: files"):
            write_root(stage, source, images=images, engine=engine)
        tree = _build_disk(stage, out / DISK, tools=tools, progress=progress)
        document = describe_disk(stage, tree=tree, images=images)
    (out / DESCRIPTION).write_bytes(canonical_json(document) + b"\n")
    return AppDisk(
        image=out / DISK,
        description=out / DESCRIPTION,
        descriptor=canonical_json(describe_tree(tree)),
        images=images,
    )


def read_app(directory: Path) -> App:
    """The application that the YAML files of a directory describe together.

    Raises:
        ManifestError: Its `fault` says what is wrong.
    """
    paths = sorted(directory.glob("*.yaml"))
    if not paths:
        raise ManifestError(Fault.COUNT, f"expected *.yaml in {directory}, got none")
    return parse_app([_read_text(path) for path in paths])


def _read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ManifestError(Fault.SYNTAX, f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ManifestError(Fault.SYNTAX, f"{path.name}: expected UTF-8: {exc}") from exc


def read_descriptor(description: Path) -> bytes:
    """The descriptor of a disk, as PCR 15 receives it, out of its `app-disk.json`.

    Raises:
        AppDiskError: The file is not the description of a disk.
    """
    try:
        return canonical_json(json.loads(description.read_bytes())["descriptor"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise AppDiskError(f"{description.name}: expected the description of a disk") from exc


def check_engine(engine: Path) -> None:
    """Nothing: the model is the one that the engine's manifest names.

    Raises:
        AppDiskError: There is no engine, or its manifest is malformed.
        DigestMismatchError: The model is another one.
    """
    try:
        manifest = json.loads((engine / "manifest.json").read_bytes())
        expected = Sha256.from_hex(manifest["model"]["sha256"])
        got = sha256_file(engine / "model.gguf")
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise AppDiskError(f"engine: expected model.gguf and its manifest.json: {exc!r}") from exc
    if got != expected:
        raise DigestMismatchError("engine/model.gguf", expected, got)


def write_root(root: Path, app: App, *, images: Sequence[Image], engine: Path) -> None:
    """The files of the disk in the new directory `root`.

    Raises:
        ManifestError: The application names an image that is not among these.
    """
    references = {image.name: image.reference for image in images}
    for name in ("engine", "manifests"):
        (root / name).mkdir(parents=True)
    (root / "manifests" / "app.yaml").write_bytes(render_app(app, references))
    (root / "network.nft").write_text(network_rules(app), encoding="ascii")
    pause = next(image for image in images if image.tag is not None)
    (root / "app.json").write_bytes(canonical_json(app_description(app, pause)) + b"\n")
    for name in ("model.gguf", "manifest.json"):
        shutil.copyfile(engine / name, root / "engine" / name)
    write_store(images, root / "images")
    _normalise_modes(root)


def app_description(app: App, pause: Image) -> dict[str, Any]:
    """What the guest must know before it starts the application: `/app.json`."""
    return {
        "version": 1,
        "name": app.name,
        "network": {"ip": str(app.address), "port": app.port},
        "health": app.readiness.path,
        "pause_image": f"{pause.name}:{pause.tag}",
    }


def describe_disk(root: Path, *, tree: VerityTree, images: Sequence[Image]) -> dict[str, Any]:
    """What is on the disk, for people, provenance and the prediction of PCR 15."""
    files = ("app.json", "engine/manifest.json", "engine/model.gguf", "manifests/app.yaml")
    return {
        "version": 1,
        "descriptor": describe_tree(tree),
        "descriptor_sha256": sha256_bytes(canonical_json(describe_tree(tree))).hex,
        "files": {name: sha256_file(root / name).hex for name in (*files, "network.nft")},
        "images": {
            image.name: {
                "reference": image.reference,
                "image_id": image.image_id.hex,
                "layer": image.layer.digest.hex,
            }
            for image in images
        },
    }


def _build_disk(root: Path, disk: Path, *, tools: Tree, progress: Progress) -> VerityTree:
    data, hashes = root.with_name("app.erofs"), root.with_name("app.verity")
    with progress.step("app disk: file system"):
        build_erofs(root, data, tools=tools, uuid=_FILE_SYSTEM, epoch=EPOCH)
    with progress.step("app disk: verity tree"):
        tree = build_verity(data, hashes, tools=tools, salt=verity_salt("app"))
    data_guid, tree_guid = verity_partition_guids(tree.root_hash)
    partitions = [
        Partition(name=DATA_NAME, type_guid=LINUX_DATA_TYPE, guid=data_guid, source=data),
        Partition(name=TREE_NAME, type_guid=LINUX_DATA_TYPE, guid=tree_guid, source=hashes),
    ]
    with progress.step("app disk: partitions"):
        write_gpt(disk, partitions, _DISK_GUID)
    return tree


def _normalise_modes(root: Path) -> None:
    """The umask of whoever builds must not reach the image; layers have their modes already."""
    layers = root / "images" / "overlay"
    for path in (root, *root.rglob("*")):
        inside_layer = "diff" in path.relative_to(root).parts and path.is_relative_to(layers)
        if not path.is_symlink() and not inside_layer:
            path.chmod(0o755 if path.is_dir() else 0o644)
