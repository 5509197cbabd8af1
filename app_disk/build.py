"""The application's disk: manifests, images and engine, read through one verity tree.

The file system's root, mounted by the guest at `/run/app`:

    /app.json                 its pods, where they listen, and which requests go to which of them
    /manifests/app.yaml       the Kubernetes objects, images by digest
    /pods/NAME.yaml           each pod as podman plays it
    /config/NAME/KEY          the files of the ConfigMaps
    /network.nft              the NetworkPolicies as nftables rules
    /images/                  a read-only image store for podman, or OCI archives for k3s
    /engine/model.gguf        the model, if a pod mounts it
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
from app_disk.manifest import Fault, ManifestError
from app_disk.oci_archive import write_archives
from app_disk.packet_filter import network_rules
from app_disk.render import (
    config_files,
    kubernetes_manifest,
    memory_volumes,
    pod_manifest,
    with_digests,
)
from app_disk.served import ServedEngine, check_served, read_served
from app_disk.store import write_store
from disk.erofs import build_erofs
from disk.gpt import LINUX_DATA_TYPE, Partition, verity_partition_guids, write_gpt
from disk.verity import build_verity, verity_salt
from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import BuildError, DigestMismatchError
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Sequence

    from app_disk.application import App, Workload
    from app_disk.image import Image
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
    app: App,
    *,
    images: tuple[Image, ...],
    engine: Path | None,
    airgap: Path | None = None,
    tools: Tree,
    out: Path,
    progress: Progress,
) -> AppDisk:
    """The disk of an application in the directory `out`: `app.img` and `app-disk.json`.

    Args:
        app: What its manifests say.
        images: The container images that it names, and the one that pods rest on.
        engine: The directory of its engine, `model.gguf` and `manifest.json`, if a pod mounts it.
        airgap: The archive of k3s's own images, where k3s runs the pods and not podman.
        tools: The root that holds mkfs.erofs and veritysetup.
        out: An existing directory.
        progress: Where the work is told.

    Raises:
        ManifestError: The manifests ask for what a guest does not do, or serve another engine.
        ImageError: Two images are the same.
        AppDiskError: There is no engine, or its manifest is malformed.
        DigestMismatchError: The model is not the one that the engine's manifest names.
        CommandError: A tool failed.
    """
    if airgap is not None and any(policy.about_clients for policy in app.policies):
        raise ManifestError(
            Fault.NETWORK,
            "NetworkPolicy of the namespace ingress: expected none where k3s runs the pods: it "
            "has no such namespace and would enforce the policy nowhere",
        )
    if engine is not None:
        check_served(app, check_engine(engine))
    with tempfile.TemporaryDirectory(prefix=".app-disk-", dir=out) as name:
        stage = Path(name) / "root"
        with progress.step("app disk: files"):
            write_root(stage, app, images=images, engine=engine, airgap=airgap)
        tree = _build_disk(stage, out / DISK, tools=tools, progress=progress)
        document = describe_disk(stage, tree=tree, images=images)
    (out / DESCRIPTION).write_bytes(canonical_json(document) + b"\n")
    return AppDisk(
        image=out / DISK,
        description=out / DESCRIPTION,
        descriptor=canonical_json(describe_tree(tree)),
        images=images,
    )


def read_descriptor(description: Path) -> bytes:
    """The descriptor of a disk, as PCR 15 receives it, out of its `app-disk.json`.

    Raises:
        AppDiskError: The file is not the description of a disk.
    """
    try:
        return canonical_json(json.loads(description.read_bytes())["descriptor"])
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise AppDiskError(f"{description.name}: expected the description of a disk") from exc


def check_engine(engine: Path) -> ServedEngine:
    """How the engine in a directory is to be served; its model is the one that its manifest names.

    Raises:
        AppDiskError: There is no engine, or its manifest is malformed.
        DigestMismatchError: The model is another one.
    """
    try:
        manifest = json.loads((engine / "manifest.json").read_bytes())
        expected = Sha256.from_hex(manifest["model"]["sha256"])
        got = sha256_file(engine / "model.gguf")
        served = read_served(manifest)
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise AppDiskError(f"engine: expected model.gguf and its manifest.json: {exc!r}") from exc
    if got != expected:
        raise DigestMismatchError("engine/model.gguf", expected, got)
    return served


def write_root(
    root: Path,
    app: App,
    *,
    images: Sequence[Image],
    engine: Path | None,
    airgap: Path | None = None,
) -> None:
    """The files of the disk in the new directory `root`.

    Raises:
        ManifestError: The application names an image that is not among these.
    """
    app = with_digests(app, {image.name: image.reference for image in images})
    pause = next(image for image in images if image.tag is not None)
    files = {
        "app.json": canonical_json(app_description(app, pause)) + b"\n",
        "manifests/app.yaml": kubernetes_manifest(app),
        "network.nft": network_rules(app).encode("ascii"),
        **{f"pods/{one.name}.yaml": pod_manifest(app, one) for one in app.workloads},
        **config_files(app),
    }
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    if engine is not None:
        (root / "engine").mkdir()
        for name in ("model.gguf", "manifest.json"):
            shutil.copyfile(engine / name, root / "engine" / name)
    if airgap is None:
        write_store(images, root / "images")
    else:
        write_archives([image for image in images if image.tag is None], root / "images")
        shutil.copyfile(airgap, root / "images" / "k3s.tar")
    _normalise_modes(root)


def app_description(app: App, pause: Image) -> dict[str, Any]:
    """What the guest must know before it starts the application: `/app.json`."""
    return {
        "version": 2,
        "name": app.name,
        "pods": [_describe_pod(workload) for workload in app.workloads],
        "routes": [
            {
                "path": route.path,
                "exact": route.exact,
                "address": str(route.address),
                "port": route.port,
            }
            for route in app.routes
        ],
        "pause_image": f"{pause.name}:{pause.tag}",
    }


def _describe_pod(workload: Workload) -> dict[str, Any]:
    return {
        "name": workload.name,
        "address": str(workload.address),
        "health": {"path": workload.readiness.path, "port": workload.readiness.port},
        "memory_volumes": memory_volumes(workload),
    }


def describe_disk(root: Path, *, tree: VerityTree, images: Sequence[Image]) -> dict[str, Any]:
    """What is on the disk, for people, provenance and the prediction of PCR 15."""
    files = sorted(
        path
        for path in root.rglob("*")
        if path.is_file() and not path.is_relative_to(root / "images")
    )
    return {
        "version": 2,
        "descriptor": describe_tree(tree),
        "descriptor_sha256": sha256_bytes(canonical_json(describe_tree(tree))).hex,
        "files": {path.relative_to(root).as_posix(): sha256_file(path).hex for path in files},
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
