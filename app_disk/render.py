"""Manifests as they go onto the disk: images by digest, and for podman nothing left to interpret.

The source names images without a digest (`localhost/llama-server`), since digests follow from the
lock; the build puts in the digest of the image that it has made. Everything is written as JSON, which
every YAML parser reads alike.

Podman would copy a ConfigMap into a writable volume and give each container of a pod an empty
directory of its own. So for podman a ConfigMap is a directory of the verity disk, its values in `env`
are words, and an empty directory is a file system in memory that the guest mounts.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from app_disk.application import App, Workload, assemble
from app_disk.kubernetes.workload import quantity_bytes
from app_disk.manifest import Fault, ManifestError, parse_object

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app_disk.kubernetes.workload import Container, EnvironmentVariable, Volume

CONFIG = "config"
"""The directory of the disk that holds ConfigMaps, one directory each."""
_DISK = "/run/app"
"""Where the guest mounts the disk."""
VOLUMES = "/run/pod/volumes"
"""Where a pod has the memory of its empty directories; no other pod sees it."""


def with_digests(app: App, images: Mapping[str, str]) -> App:
    """The application with each image by its digest.

    Args:
        app: The application as its source describes it.
        images: References with digest, by image name.

    Raises:
        ManifestError: An image is not on the disk, or is named with another digest or with a tag.
    """
    documents = [one.wire() for one in app.objects]
    for document in documents:
        for container in _containers(document):
            container["image"] = _reference(container["image"], images)
    return assemble([parse_object(document) for document in documents])


def kubernetes_manifest(app: App) -> bytes:
    """All objects of the application, as any Kubernetes reads them."""
    return "---\n".join(_document(one.wire()) for one in app.objects).encode("ascii")


def pod_manifest(app: App, workload: Workload) -> bytes:
    """One pod, as podman plays it."""
    pod = workload.pod.wire()
    pod["containers"] = [_container(app, container) for container in workload.pod.containers]
    pod["volumes"] = [_volume(volume) for volume in workload.pod.volumes]
    # podman runs in the pod's user namespace already, and needs none of its own making.
    del pod["hostUsers"]
    metadata = {"name": workload.name, "labels": dict(workload.labels)}
    document = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}
    return _document(document).encode("ascii")


def config_files(app: App) -> dict[str, bytes]:
    """The files of all ConfigMaps, by their path on the disk."""
    return {
        f"{CONFIG}/{name}/{key}": value.encode()
        for name, config in app.config_maps.items()
        for key, value in config.data.items()
    }


def memory_volumes(workload: Workload) -> dict[str, int]:
    """The size in bytes of each empty directory of a pod, by its name."""
    return {
        volume.name: quantity_bytes(volume.empty_dir.size_limit)
        for volume in workload.pod.volumes
        if volume.empty_dir is not None
    }


def _container(app: App, container: Container) -> dict[str, Any]:
    document = container.wire()
    if container.env:
        document["env"] = [
            {"name": setting.name, "value": _value(app, setting)} for setting in container.env
        ]
    return document


def _value(app: App, setting: EnvironmentVariable) -> str | None:
    if setting.value_from is None:
        return setting.value
    ref = setting.value_from.config_map_key_ref
    return app.config_maps[ref.name].data[ref.key]


def _volume(volume: Volume) -> dict[str, Any]:
    if volume.config_map is not None:
        path = f"{_DISK}/{CONFIG}/{volume.config_map.name}"
    elif volume.empty_dir is not None:
        path = f"{VOLUMES}/{volume.name}"
    else:
        return volume.wire()
    return {"name": volume.name, "hostPath": {"path": path, "type": "Directory"}}


def _containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    if document["kind"] not in {"Pod", "Deployment"}:
        return []
    spec = document["spec"]
    if document["kind"] == "Deployment":
        spec = spec["template"]["spec"]
    containers: list[dict[str, Any]] = spec["containers"]
    return containers


def _reference(image: str, images: Mapping[str, str]) -> str:
    name, _, digest = image.partition("@")
    if name not in images:
        raise ManifestError(
            Fault.IMAGE, f"expected an image of {', '.join(sorted(images))}, got {image!r}"
        )
    if digest and images[name] != image:
        raise ManifestError(Fault.IMAGE, f"expected {images[name]}, got {image}")
    return images[name]


def _document(document: Mapping[str, Any]) -> str:
    return json.dumps(document, indent=1) + "\n"
