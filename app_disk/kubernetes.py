"""The subset of Kubernetes that a guest runs, in strict types: what is not here is refused.

A field that podman or this project would ignore must not be accepted: whoever reads a manifest would
believe in a protection that nobody enforces.

Source: Kubernetes API reference 1.32, Pod v1, Deployment v1 apps, Service v1, NetworkPolicy v1
networking.k8s.io.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel

ENGINE_PATH = "/run/app/engine"
"""Where the guest mounts the disk's engine: the one host path that a pod may see."""


def _as_tuple(value: object) -> object:
    # YAML knows lists only; strict pydantic wants the tuple that a frozen value needs.
    return tuple(value) if isinstance(value, list) else value


def _as_address(value: object) -> object:
    return IPv4Address(value) if isinstance(value, str) else value


def _as_network(value: object) -> object:
    return IPv4Network(value) if isinstance(value, str) else value


_Item = TypeVar("_Item")
Items = Annotated[tuple[_Item, ...], BeforeValidator(_as_tuple)]
Address = Annotated[IPv4Address, BeforeValidator(_as_address)]
Network = Annotated[IPv4Network, BeforeValidator(_as_network)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS label, RFC 1123."""
Labels = Annotated[dict[str, str], Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
Identity = Annotated[int, Field(ge=1, le=2**31 - 1)]
"""A user or group that is not root."""
UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]{0,200}$")]
FilePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]


class _Object(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)


class Metadata(_Object):
    """The name and the labels of an object."""

    name: Label
    labels: dict[str, str] = {}


class Selector(_Object):
    """Which pods are meant."""

    match_labels: Labels


class SeccompProfile(_Object):
    """The filter of system calls: the runtime's own."""

    type: Literal["RuntimeDefault"]


class PodSecurityContext(_Object):
    """Who the pod's processes are: never root."""

    run_as_non_root: Literal[True]
    run_as_user: Identity
    run_as_group: Identity
    seccomp_profile: SeccompProfile


class Capabilities(_Object):
    """No capability at all."""

    drop: Annotated[Items[Literal["ALL"]], Field(min_length=1, max_length=1)]


class SecurityContext(_Object):
    """What a container may do; each line is demanded, none has a default."""

    allow_privilege_escalation: Literal[False]
    read_only_root_filesystem: Literal[True]
    capabilities: Capabilities


class ContainerPort(_Object):
    """A port that the container listens on."""

    name: Label | None = None
    container_port: Port
    protocol: Literal["TCP"] = "TCP"


class HttpGet(_Object):
    """A page that answers 200 when the container can work."""

    path: UrlPath
    port: Port


class Probe(_Object):
    """How readiness is found out; the guest's health page asks for it."""

    http_get: HttpGet


class VolumeMount(_Object):
    """Where a volume appears in a container, for reading."""

    name: Label
    mount_path: FilePath
    read_only: Literal[True]


class EnvironmentVariable(_Object):
    """A setting with its value; values from elsewhere are not supported."""

    name: Annotated[str, Field(pattern=r"^[A-Z_][A-Z0-9_]{0,63}$")]
    value: str


class Container(_Object):
    """One container; its image is on the disk and is never pulled."""

    name: Label
    image: str
    image_pull_policy: Literal["Never"]
    command: Items[str] = ()
    args: Items[str] = ()
    env: Items[EnvironmentVariable] = ()
    ports: Items[ContainerPort] = ()
    readiness_probe: Probe | None = None
    security_context: SecurityContext
    volume_mounts: Items[VolumeMount] = ()


class HostPath(_Object):
    """The engine's directory on the verity disk."""

    path: Literal["/run/app/engine"]
    type: Literal["Directory"]


class Volume(_Object):
    """A directory that containers mount."""

    name: Label
    host_path: HostPath


class PodSpec(_Object):
    """The containers that share one address."""

    automount_service_account_token: Literal[False]
    enable_service_links: Literal[False]
    restart_policy: Literal["Always"] = "Always"
    security_context: PodSecurityContext
    containers: Annotated[Items[Container], Field(min_length=1)]
    volumes: Items[Volume] = ()


class Pod(_Object):
    """A pod of its own."""

    api_version: Literal["v1"]
    kind: Literal["Pod"]
    metadata: Metadata
    spec: PodSpec


class PodTemplate(_Object):
    """The pod that a deployment makes."""

    metadata: LabelsOnly
    spec: PodSpec


class LabelsOnly(_Object):
    """The labels of a pod that gets its name from its deployment."""

    labels: Labels


class DeploymentSpec(_Object):
    """One pod: a guest is one replica, and replicas are guests."""

    replicas: Annotated[int, Field(ge=1, le=1)]
    selector: Selector
    template: PodTemplate


class Deployment(_Object):
    """A pod that is started again when it ends."""

    api_version: Literal["apps/v1"]
    kind: Literal["Deployment"]
    metadata: Metadata
    spec: DeploymentSpec


class ServicePort(_Object):
    """The port by which a service is reached and the pod's own."""

    name: Label | None = None
    port: Port
    target_port: Port
    protocol: Literal["TCP"] = "TCP"


class ServiceSpec(_Object):
    """The address at which the TLS terminator finds the pod."""

    type: Literal["ClusterIP"] = "ClusterIP"
    cluster_ip: Annotated[Address, Field(alias="clusterIP")]
    selector: Labels
    ports: Annotated[Items[ServicePort], Field(min_length=1, max_length=1)]


class Service(_Object):
    """How the pod is reached."""

    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class IpBlock(_Object):
    """A range of addresses, without exceptions."""

    cidr: Network


class Peer(_Object):
    """Who may connect."""

    ip_block: IpBlock


class PolicyPort(_Object):
    """To which port."""

    port: Port
    protocol: Literal["TCP"] = "TCP"


class IngressRule(_Object):
    """Connections to the pod that are let in."""

    from_: Annotated[Items[Peer], Field(alias="from", min_length=1)]
    ports: Annotated[Items[PolicyPort], Field(min_length=1)]


class PolicySpec(_Object):
    """Both directions are ruled; nothing that the pod begins is let out."""

    pod_selector: Selector
    policy_types: Annotated[Items[Literal["Ingress", "Egress"]], Field(min_length=2, max_length=2)]
    ingress: Annotated[Items[IngressRule], Field(min_length=1)]
    egress: Annotated[Items[Any], Field(max_length=0)] = ()


class NetworkPolicy(_Object):
    """Who may talk to the pod."""

    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: Metadata
    spec: PolicySpec


KINDS: dict[str, type[Pod | Deployment | Service | NetworkPolicy]] = {
    "Pod": Pod,
    "Deployment": Deployment,
    "Service": Service,
    "NetworkPolicy": NetworkPolicy,
}
"""Every kind that is understood, by its name."""
