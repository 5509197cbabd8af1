"""How pods are reached: Service, Ingress and NetworkPolicy."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_network
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from app_disk.kubernetes.base import (
    Items,
    KubernetesObject,
    Label,
    Labels,
    Metadata,
    Port,
    UrlPath,
)

INGRESS_NAMESPACE = "ingress"
"""The name by which a NetworkPolicy means the guest's TLS terminator, and nothing else."""


def _as_address(value: object) -> object:
    return IPv4Address(value) if isinstance(value, str) else value


def _as_network(value: object) -> object:
    return ip_network(value) if isinstance(value, str) else value


Address = Annotated[IPv4Address, BeforeValidator(_as_address)]
Network = Annotated[IPv4Network | IPv6Network, BeforeValidator(_as_network)]


class ServicePort(KubernetesObject):
    """The port by which a service is reached and the pod's own."""

    name: Label | None = None
    port: Port
    target_port: Port
    protocol: Literal["TCP"] = "TCP"


class ServiceSpec(KubernetesObject):
    """The address at which the TLS terminator and other pods find the pod."""

    type: Literal["ClusterIP"] = "ClusterIP"
    cluster_ip: Annotated[Address, Field(alias="clusterIP")]
    selector: Labels
    ports: Annotated[Items[ServicePort], Field(min_length=1)]


class Service(KubernetesObject):
    """How one pod is reached."""

    api_version: Literal["v1"]
    kind: Literal["Service"]
    metadata: Metadata
    spec: ServiceSpec


class BackendPort(KubernetesObject):
    """The port of a service, by number."""

    number: Port


class BackendService(KubernetesObject):
    """The service that answers for a path."""

    name: Label
    port: BackendPort


class Backend(KubernetesObject):
    """Where requests go."""

    service: BackendService


class IngressPath(KubernetesObject):
    """Which requests go there: by the whole path, or by its first elements."""

    path: UrlPath
    path_type: Literal["Prefix", "Exact"]
    backend: Backend


class IngressHttp(KubernetesObject):
    """The paths of a rule."""

    paths: Annotated[Items[IngressPath], Field(min_length=1)]


class IngressRule(KubernetesObject):
    """Whatever the host is called: the name of a guest is not known when it is built."""

    http: IngressHttp


class IngressSpec(KubernetesObject):
    """The requests that the TLS terminator passes on; it has no other certificate than its own."""

    rules: Annotated[Items[IngressRule], Field(min_length=1, max_length=1)]


class Ingress(KubernetesObject):
    """What of the application is reached from outside."""

    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["Ingress"]
    metadata: Metadata
    spec: IngressSpec


class IpBlock(KubernetesObject):
    """A range of addresses, and ranges within it that are not meant."""

    cidr: Network
    except_: Annotated[Items[Network], Field(alias="except")] = ()

    @model_validator(mode="after")
    def _within(self) -> IpBlock:
        for one in self.except_:
            inside = (
                one.subnet_of(self.cidr)
                if isinstance(one, IPv4Network) and isinstance(self.cidr, IPv4Network)
                else isinstance(one, IPv6Network)
                and isinstance(self.cidr, IPv6Network)
                and one.subnet_of(self.cidr)
            )
            if not inside or one == self.cidr:
                raise ValueError(f"expected exceptions within {self.cidr}, got {one}")
        return self


class PodSelector(KubernetesObject):
    """Which pods are meant; all of the application when no label is named."""

    match_labels: dict[str, str] = Field(default_factory=dict)


class NamespaceName(KubernetesObject):
    """The namespace of the TLS terminator: the only one besides the application's own."""

    name: Annotated[Literal["ingress"], Field(alias="kubernetes.io/metadata.name")]


class NamespaceSelector(KubernetesObject):
    """The namespace of the TLS terminator."""

    match_labels: NamespaceName


class Peer(KubernetesObject):
    """The other side of a connection, told in exactly one way."""

    ip_block: IpBlock | None = None
    pod_selector: PodSelector | None = None
    namespace_selector: NamespaceSelector | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Peer:
        told = (self.ip_block, self.pod_selector, self.namespace_selector)
        if sum(way is not None for way in told) != 1:
            raise ValueError("expected one of ipBlock, podSelector and namespaceSelector")
        return self


class PolicyPort(KubernetesObject):
    """To which port."""

    port: Port
    protocol: Literal["TCP"] = "TCP"


class PolicyIngressRule(KubernetesObject):
    """Connections to the pod that are let in."""

    from_: Annotated[Items[Peer], Field(alias="from", min_length=1)]
    ports: Annotated[Items[PolicyPort], Field(min_length=1)]


class PolicyEgressRule(KubernetesObject):
    """Connections that the pod may begin."""

    to: Annotated[Items[Peer], Field(min_length=1)]
    ports: Annotated[Items[PolicyPort], Field(min_length=1)]


class PolicySpec(KubernetesObject):
    """What no rule names does not pass."""

    pod_selector: PodSelector
    policy_types: Annotated[Items[Literal["Ingress", "Egress"]], Field(min_length=1, max_length=2)]
    ingress: Items[PolicyIngressRule] = ()
    egress: Items[PolicyEgressRule] = ()


class PolicyMetadata(Metadata):
    """Whose pods are meant: the application's own, or the TLS terminator."""

    namespace: Literal["ingress"] | None = None


class NetworkPolicy(KubernetesObject):
    """Who may talk to the pods that it selects, and to whom they may.

    In the namespace `ingress` it is about the TLS terminator: which clients the guest has.
    """

    api_version: Literal["networking.k8s.io/v1"]
    kind: Literal["NetworkPolicy"]
    metadata: PolicyMetadata
    spec: PolicySpec

    @property
    def about_clients(self) -> bool:
        """Whether it is about the TLS terminator."""
        return self.metadata.namespace is not None

    @model_validator(mode="after")
    def _directions(self) -> NetworkPolicy:
        ruled = {"Ingress"} if self.about_clients else {"Ingress", "Egress"}
        if sorted(self.spec.policy_types) != sorted(ruled):
            raise ValueError(
                f"expected policyTypes {sorted(ruled)}, got {[*self.spec.policy_types]}"
            )
        if self.about_clients and (self.spec.pod_selector.match_labels or self.spec.egress):
            raise ValueError("in the namespace ingress: expected podSelector {} and no egress")
        return self
