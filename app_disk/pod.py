"""What must hold inside one pod: volumes in use, settings with a source, one way to tell readiness."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from app_disk.manifest import Fault, ManifestError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app_disk.kubernetes.workload import ConfigMap, Container, HttpGet, PodSpec, Volume

_OF_THE_SYSTEM = ("/dev", "/proc", "/sys")
"""Directories of a container that the runtime fills."""


def check_pod(name: str, pod: PodSpec, maps: Mapping[str, ConfigMap]) -> set[str]:
    """The names of the ConfigMaps that a pod uses; all else about it holds.

    Raises:
        ManifestError: A name is there twice, a volume is unknown, unused or mounted for writing
            though it lies on the disk, or a ConfigMap or its key is missing.
    """
    _check_distinct(f"pod {name}: containers", (one.name for one in pod.containers), Fault.NAME)
    _check_distinct(f"pod {name}: volumes", (one.name for one in pod.volumes), Fault.VOLUME)
    volumes = {volume.name: volume for volume in pod.volumes}
    mounted = {mount.name for one in pod.containers for mount in one.volume_mounts}
    if mounted != volumes.keys():
        raise ManifestError(
            Fault.VOLUME,
            f"pod {name}: expected each volume in use, {sorted(volumes)}, got {sorted(mounted)}",
        )
    for container in pod.containers:
        _check_mounts(container, volumes)
    used = {one.config_map.name for one in pod.volumes if one.config_map is not None}
    if missing := sorted(used - maps.keys()):
        raise ManifestError(Fault.CONFIG, f"pod {name}: expected ConfigMaps {missing}, got none")
    return used | {ref for one in pod.containers for ref in _check_settings(one, maps)}


def readiness(name: str, pod: PodSpec, ports: Sequence[int]) -> HttpGet:
    """The page that tells when a pod can work.

    Args:
        name: Of the pod.
        pod: What runs in it.
        ports: The ports of its service.

    Raises:
        ManifestError: A port is open in no container or in several, or there is not one probe, or
            it is not at one of the ports.
    """
    serving = {port: _serving(name, pod, port) for port in ports}
    probes = [one for one in pod.containers if one.readiness_probe is not None]
    if len(probes) != 1 or probes[0].readiness_probe is None:
        raise ManifestError(
            Fault.PROBE, f"pod {name}: expected one readiness probe, got {len(probes)}"
        )
    page = probes[0].readiness_probe.http_get
    if serving.get(page.port) is not probes[0]:
        raise ManifestError(
            Fault.PROBE,
            f"pod {name}: expected the probe at the container of a port of its service, "
            f"got {page.port}",
        )
    return page


def _serving(name: str, pod: PodSpec, port: int) -> Container:
    found = [one for one in pod.containers if any(p.container_port == port for p in one.ports)]
    if len(found) != 1:
        raise ManifestError(
            Fault.NETWORK, f"pod {name}: expected one container with port {port}, got {len(found)}"
        )
    return found[0]


def _check_mounts(container: Container, volumes: Mapping[str, Volume]) -> None:
    paths = [mount.mount_path for mount in container.volume_mounts]
    _check_distinct(f"{container.name}: mountPath", paths, Fault.VOLUME)
    for mount in container.volume_mounts:
        if {".", ".."} & set(mount.mount_path.split("/")) or any(
            f"{mount.mount_path}/".startswith(f"{taken}/") for taken in _OF_THE_SYSTEM
        ):
            raise ManifestError(
                Fault.VOLUME,
                f"{container.name}: expected a mountPath outside {', '.join(_OF_THE_SYSTEM)}, "
                f"got {mount.mount_path}",
            )
        if volumes[mount.name].empty_dir is None and not mount.read_only:
            raise ManifestError(
                Fault.VOLUME,
                f"{container.name}: {mount.name} lies on the disk: expected readOnly: true",
            )


def _check_settings(container: Container, maps: Mapping[str, ConfigMap]) -> set[str]:
    _check_distinct(f"{container.name}: env", (one.name for one in container.env), Fault.NAME)
    used = set()
    for setting in container.env:
        if setting.value_from is None:
            continue
        ref = setting.value_from.config_map_key_ref
        if ref.name not in maps or ref.key not in maps[ref.name].data:
            raise ManifestError(
                Fault.CONFIG,
                f"{container.name}: {setting.name}: expected a ConfigMap {ref.name} with the key "
                f"{ref.key}, got none",
            )
        used.add(ref.name)
    return used


def _check_distinct(what: str, names: Iterable[str], fault: Fault) -> None:
    found = list(names)
    if len(set(found)) != len(found):
        raise ManifestError(fault, f"{what}: expected each once, got {found}")
