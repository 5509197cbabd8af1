"""What the NetworkPolicies of an application let pass in a guest, worked out connection by connection.

A guest is a small cluster: clients, the TLS terminator (the namespace `ingress`), and the pods of one
application. So a policy can be followed to its end before anything runs, and a rule of which nothing
comes is refused, since somebody meant something by it. Nothing ever leaves the guest.

Source: Kubernetes, Network Policies.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, collapse_addresses
from typing import TYPE_CHECKING, TypeVar

from app_disk.manifest import Fault, ManifestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from ipaddress import IPv4Address

    from app_disk.application import App, Workload
    from app_disk.kubernetes.network import IpBlock, NetworkPolicy, Peer, PolicyPort

INGRESS_PORT = 443
"""The one port of a guest."""

Clients = IPv4Network | IPv6Network
_Range = TypeVar("_Range", IPv4Network, IPv6Network)


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Opening:
    """A port of a pod that the guest itself asks."""

    address: IPv4Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Passage:
    """Connections from one pod to a port of another."""

    source: IPv4Address
    target: IPv4Address
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """All connections that an application has, sorted; there are no others."""

    routes: tuple[Opening, ...]
    """By the TLS terminator, with the requests of clients."""
    probes: tuple[Opening, ...]
    """By the attestation service, which asks whether the pods are ready."""
    passages: tuple[Passage, ...]
    """Between pods."""
    clients: tuple[Clients, ...] | None
    """Who may connect to the guest; everybody when None."""


def hardware_address(address: IPv4Address) -> str:
    """The Ethernet address that the guest gives to the pod of an address, in hexadecimal."""
    # 02: of nobody's range, and one station's.
    return (b"\2\0" + address.packed).hex(":")


def plan_network(app: App) -> NetworkPlan:
    """What an application's policies come to.

    Raises:
        ManifestError: A rule lets pass what a guest does not do, or nothing comes of it; or the
            Ingress sends requests where no policy lets them in.
    """
    policies = [policy for policy in app.policies if not policy.about_clients]
    let_in = {one for policy in policies for one in _asked(app, policy)}
    let_out = {one for policy in policies for one in _asking(app, policy)}
    passages = let_in & let_out
    for policy in policies:
        _check_use(app, policy, passages)
    return NetworkPlan(
        routes=_routes(app, policies),
        probes=tuple(
            sorted(Opening(address=one.address, port=one.readiness.port) for one in app.workloads)
        ),
        passages=tuple(sorted(passages)),
        clients=_clients([policy for policy in app.policies if policy.about_clients]),
    )


def _asked(app: App, policy: NetworkPolicy) -> set[Passage]:
    """Connections of pods that the policy lets in to the pods that it selects."""
    return {
        one
        for rule in policy.spec.ingress
        for peer in rule.from_
        for one in _passages(_selected(app, peer), _subjects(app, policy), rule.ports)
    }


def _asking(app: App, policy: NetworkPolicy) -> set[Passage]:
    """Connections to other pods that the policy lets out of the pods that it selects."""
    return {
        one
        for rule in policy.spec.egress
        for peer in rule.to
        for one in _passages(_subjects(app, policy), _selected(app, peer), rule.ports)
    }


def _passages(
    sources: Iterable[Workload], targets: Sequence[Workload], ports: Sequence[PolicyPort]
) -> set[Passage]:
    return {
        Passage(source=source.address, target=target.address, port=port.port)
        for source in sources
        for target in targets
        for port in ports
        if source is not target
    }


def _subjects(app: App, policy: NetworkPolicy) -> list[Workload]:
    labels = policy.spec.pod_selector.match_labels
    return [one for one in app.workloads if one.selected_by(labels)]


def _selected(app: App, peer: Peer) -> list[Workload]:
    """The pods that a peer means; none when it means somebody else."""
    if peer.pod_selector is None:
        return []
    return [one for one in app.workloads if one.selected_by(peer.pod_selector.match_labels)]


def _check_use(app: App, policy: NetworkPolicy, passages: set[Passage]) -> None:
    name, subjects = policy.metadata.name, _subjects(app, policy)
    for ingress in policy.spec.ingress:
        for peer in ingress.from_:
            if peer.ip_block is not None:
                raise ManifestError(
                    Fault.NETWORK,
                    f"NetworkPolicy {name}: expected podSelector or namespaceSelector in from, got "
                    f"ipBlock {peer.ip_block.cidr}; clients reach a pod through the TLS terminator "
                    "alone, and which ones says a policy in the namespace ingress",
                )
            if peer.namespace_selector is None:
                let = _passages(_selected(app, peer), subjects, ingress.ports)
                _check_some(name, "ingress", let & passages, "to whom an egress rule lets them out")
    for egress in policy.spec.egress:
        for peer in egress.to:
            if peer.pod_selector is None:
                raise ManifestError(
                    Fault.NETWORK,
                    f"NetworkPolicy {name}: expected podSelector in to: nothing leaves a guest, "
                    "and nobody asks its TLS terminator",
                )
            let = _passages(subjects, _selected(app, peer), egress.ports)
            _check_some(name, "egress", let & passages, "where an ingress rule lets them in")


def _check_some(name: str, direction: str, let: set[Passage], where: str) -> None:
    if not let:
        raise ManifestError(
            Fault.NETWORK,
            f"NetworkPolicy {name}: expected each {direction} rule to be about pods of the "
            f"application {where}, got one of which nothing comes",
        )


def _routes(app: App, policies: Sequence[NetworkPolicy]) -> tuple[Opening, ...]:
    let = {
        Opening(address=one.address, port=port.port)
        for policy in policies
        for one in _subjects(app, policy)
        for rule in policy.spec.ingress
        if any(peer.namespace_selector is not None for peer in rule.from_)
        for port in rule.ports
    }
    routed = {Opening(address=one.address, port=one.port) for one in app.routes}
    for what, lacking in (
        ("the Ingress sends requests to {}, and no NetworkPolicy lets them in", routed - let),
        (
            "a NetworkPolicy lets the namespace ingress in to {}, and no path leads there",
            let - routed,
        ),
    ):
        if lacking:
            places = ", ".join(f"{one.address}:{one.port}" for one in sorted(lacking))
            raise ManifestError(Fault.NETWORK, what.format(places))
    return tuple(sorted(routed))


def _clients(policies: Sequence[NetworkPolicy]) -> tuple[Clients, ...] | None:
    if not policies:
        return None
    found: list[Clients] = []
    for policy in policies:
        name = policy.metadata.name
        for rule in policy.spec.ingress:
            if {port.port for port in rule.ports} != {INGRESS_PORT}:
                raise ManifestError(
                    Fault.NETWORK,
                    f"NetworkPolicy {name}: expected port {INGRESS_PORT}, which is the only one, "
                    f"got {sorted(port.port for port in rule.ports)}",
                )
            for peer in rule.from_:
                if peer.ip_block is None:
                    raise ManifestError(
                        Fault.NETWORK,
                        f"NetworkPolicy {name}: expected ipBlock: clients are outside the guest",
                    )
                found += _without(peer.ip_block)
    if not found:
        raise ManifestError(Fault.NETWORK, "namespace ingress: expected clients, got none")
    return (
        *collapse_addresses(one for one in found if isinstance(one, IPv4Network)),
        *collapse_addresses(one for one in found if isinstance(one, IPv6Network)),
    )


def _without(block: IpBlock) -> list[IPv4Network] | list[IPv6Network]:
    """The ranges that are left of a block when its exceptions are taken out."""
    if isinstance(block.cidr, IPv4Network):
        return _left(block.cidr, [one for one in block.except_ if isinstance(one, IPv4Network)])
    return _left(block.cidr, [one for one in block.except_ if isinstance(one, IPv6Network)])


def _left(whole: _Range, holes: Iterable[_Range]) -> list[_Range]:
    left = [whole]
    for hole in holes:
        left = [part for one in left for part in _exclude(one, hole)]
    return left


def _exclude(one: _Range, hole: _Range) -> list[_Range]:
    if one.subnet_of(hole):
        return []
    if not hole.subnet_of(one):
        return [one]
    return [*one.address_exclude(hole)]  # type: ignore[arg-type]  # of the same family, by _Range
