"""An application as a whole: which pods, where each listens, what of them is reached from outside.

The objects are put together here, once, and every reference between them is followed: what selects
nothing, points nowhere or is used by nobody is refused, since somebody meant something by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from typing import TYPE_CHECKING, TypeVar

from app_disk.kubernetes.network import Ingress, NetworkPolicy, Service
from app_disk.kubernetes.workload import ConfigMap, Deployment, Pod
from app_disk.manifest import Fault, ManifestError, load_yaml, parse_object
from app_disk.pod import check_pod, readiness

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from app_disk.kubernetes.kinds import AnyObject
    from app_disk.kubernetes.network import IngressPath
    from app_disk.kubernetes.workload import HttpGet, PodSpec

POD_NETWORK = IPv4Network("10.89.0.0/24")
FIRST_ADDRESS = IPv4Address("10.89.0.10")
"""The guest's bridge; what is below the first address is the guest's own."""

MOST_PODS = 16
"""The guest has no accounts for more."""

RESERVED = ("/attestation", "/healthz")
"""Paths that the guest answers itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """A pod, with the service that gives it its address."""

    name: str
    """Of its Pod or Deployment."""
    labels: Mapping[str, str]
    pod: PodSpec
    service: Service
    readiness: HttpGet
    """The page that tells when it can work."""

    @property
    def address(self) -> IPv4Address:
        """Where the pod listens: the service's cluster address."""
        return self.service.spec.cluster_ip

    @property
    def ports(self) -> tuple[int, ...]:
        """The ports of its service, sorted."""
        return tuple(sorted(port.port for port in self.service.spec.ports))

    def selected_by(self, labels: Mapping[str, str]) -> bool:
        """Whether a selector with these labels means this pod."""
        return labels.items() <= self.labels.items()


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests that the TLS terminator passes on."""

    path: str
    """Of the URL, without a slash at its end; empty for every path."""
    exact: bool
    """Whether it is the whole path, and not its first elements."""
    workload: str
    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """An application whose manifests have been understood completely."""

    name: str
    """The name of its Ingress."""
    workloads: tuple[Workload, ...]
    """By name."""
    routes: tuple[Route, ...]
    """The longest path first."""
    policies: tuple[NetworkPolicy, ...]
    config_maps: Mapping[str, ConfigMap]
    objects: tuple[AnyObject, ...]
    """All of them, in the order of their source."""

    @property
    def images(self) -> tuple[str, ...]:
        """The images that its containers name, sorted."""
        return tuple(sorted({c.image for one in self.workloads for c in one.pod.containers}))

    @property
    def needs_engine(self) -> bool:
        """Whether a pod mounts the engine."""
        return any(
            volume.host_path is not None for one in self.workloads for volume in one.pod.volumes
        )


def parse_app(texts: Sequence[str]) -> App:
    """The application that some YAML files describe together.

    Raises:
        ManifestError: Its `fault` says what is wrong.
    """
    return assemble([parse_object(document) for text in texts for document in load_yaml(text)])


def assemble(objects: Sequence[AnyObject]) -> App:
    """The application that these objects are.

    Raises:
        ManifestError: Its `fault` says what is wrong.
    """
    _check_names(objects)
    services = _of_kind(objects, Service)
    maps = {one.metadata.name: one for one in _of_kind(objects, ConfigMap)}
    policies = _of_kind(objects, NetworkPolicy)
    workloads = tuple(
        sorted((_workload(one, services) for one in _pods(objects)), key=lambda one: one.name)
    )
    if len(workloads) > MOST_PODS:
        raise ManifestError(Fault.COUNT, f"expected at most {MOST_PODS} pods, got {len(workloads)}")
    _check_services(services, workloads)
    _check_policies(policies, workloads)
    used = {name for one in workloads for name in check_pod(one.name, one.pod, maps)}
    if unused := sorted(maps.keys() - used):
        raise ManifestError(Fault.CONFIG, f"expected each ConfigMap in use, got {unused} unused")
    ingress = _of_kind(objects, Ingress)
    if len(ingress) != 1:
        raise ManifestError(Fault.COUNT, f"expected one Ingress, got {len(ingress)}")
    return App(
        name=ingress[0].metadata.name,
        workloads=workloads,
        routes=_routes(ingress[0], workloads),
        policies=policies,
        config_maps=maps,
        objects=tuple(objects),
    )


_Kind = TypeVar("_Kind", Service, Ingress, NetworkPolicy, ConfigMap)


def _of_kind(objects: Sequence[AnyObject], kind: type[_Kind]) -> tuple[_Kind, ...]:
    return tuple(one for one in objects if isinstance(one, kind))


def _check_names(objects: Sequence[AnyObject]) -> None:
    # A pod is called like its Deployment on the disk and for podman, so both share one space.
    names = [
        ("Pod" if isinstance(one, Deployment) else one.kind, one.metadata.name) for one in objects
    ]
    if twice := sorted({" ".join(name) for name in names if names.count(name) > 1}):
        raise ManifestError(Fault.NAME, f"expected each name once, got twice: {', '.join(twice)}")


def _pods(objects: Sequence[AnyObject]) -> tuple[Pod | Deployment, ...]:
    found = tuple(one for one in objects if isinstance(one, Pod | Deployment))
    if not found:
        raise ManifestError(Fault.COUNT, "expected a Pod or Deployment, got none")
    return found


def _workload(workload: Pod | Deployment, services: Sequence[Service]) -> Workload:
    name = workload.metadata.name
    if isinstance(workload, Pod):
        pod, labels = workload.spec, workload.metadata.labels
    else:
        pod, labels = workload.spec.template.spec, workload.spec.template.metadata.labels
        selector = workload.spec.selector.match_labels
        if not selector.items() <= labels.items():
            raise ManifestError(
                Fault.SELECTOR,
                f"Deployment {name}: expected it to select its pod {labels}, got {selector}",
            )
    mine = [one for one in services if one.spec.selector.items() <= labels.items()]
    if len(mine) != 1:
        raise ManifestError(
            Fault.SELECTOR, f"pod {name}: expected one Service that selects it, got {len(mine)}"
        )
    ports = [port.port for port in mine[0].spec.ports]
    return Workload(
        name=name,
        labels=labels,
        pod=pod,
        service=mine[0],
        readiness=readiness(name, pod, ports),
    )


def _check_services(services: Sequence[Service], workloads: Sequence[Workload]) -> None:
    for service in services:
        name, spec = service.metadata.name, service.spec
        selected = [one.name for one in workloads if one.service is service]
        if len(selected) != 1:
            raise ManifestError(
                Fault.SELECTOR, f"Service {name}: expected it to select one pod, got {selected}"
            )
        last = POD_NETWORK.broadcast_address
        if spec.cluster_ip not in POD_NETWORK or not FIRST_ADDRESS <= spec.cluster_ip < last:
            raise ManifestError(
                Fault.NETWORK,
                f"Service {name}: expected a clusterIP from {FIRST_ADDRESS} to {last - 1}, "
                f"got {spec.cluster_ip}",
            )
        for port in spec.ports:
            if port.port != port.target_port:
                raise ManifestError(
                    Fault.NETWORK,
                    f"Service {name}: nothing translates ports; expected port "
                    f"{port.target_port}, got {port.port}",
                )
    addresses = [service.spec.cluster_ip for service in services]
    if len(set(addresses)) != len(addresses):
        raise ManifestError(
            Fault.NETWORK, f"expected a clusterIP for each Service, got {[*map(str, addresses)]}"
        )


def _check_policies(policies: Sequence[NetworkPolicy], workloads: Sequence[Workload]) -> None:
    policies = [policy for policy in policies if not policy.about_clients]
    for policy in policies:
        labels = policy.spec.pod_selector.match_labels
        if not any(one.selected_by(labels) for one in workloads):
            raise ManifestError(
                Fault.SELECTOR,
                f"NetworkPolicy {policy.metadata.name}: expected it to select a pod, got {labels}",
            )
    for one in workloads:
        if not any(one.selected_by(p.spec.pod_selector.match_labels) for p in policies):
            raise ManifestError(
                Fault.SELECTOR, f"pod {one.name}: expected a NetworkPolicy that selects it"
            )


def _routes(ingress: Ingress, workloads: Sequence[Workload]) -> tuple[Route, ...]:
    routes = [_route(path, workloads) for path in ingress.spec.rules[0].http.paths]
    # The terminator compares paths without regard to case.
    keys = [(route.path.casefold(), route.exact) for route in routes]
    if len(set(keys)) != len(keys):
        raise ManifestError(Fault.INGRESS, f"expected each path once, got {[k for k, _ in keys]}")
    return tuple(sorted(routes, key=lambda one: (-len(one.path), not one.exact, one.path)))


def _route(path: IngressPath, workloads: Sequence[Workload]) -> Route:
    wanted = path.path.rstrip("/") if path.path_type == "Prefix" else path.path
    elements = wanted.split("/")[1:]
    if any(element in {".", ".."} for element in elements) or "" in elements[:-1]:
        raise ManifestError(Fault.INGRESS, f"expected a path without //, . and .., got {path.path}")
    if f"/{elements[0] if elements else ''}".casefold() in RESERVED:
        raise ManifestError(
            Fault.INGRESS, f"{path.path}: {', '.join(RESERVED)} are answered by the guest itself"
        )
    backend = path.backend.service
    found = [one for one in workloads if one.service.metadata.name == backend.name]
    if not found or backend.port.number not in found[0].ports:
        raise ManifestError(
            Fault.INGRESS,
            f"{path.path}: expected a Service of this application and one of its ports, "
            f"got {backend.name}:{backend.port.number}",
        )
    return Route(
        path=wanted,
        exact=path.path_type == "Exact",
        workload=found[0].name,
        address=found[0].address,
        port=backend.port.number,
    )
