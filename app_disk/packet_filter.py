"""A network plan as nftables commands: podman has no NetworkPolicy, so the guest's kernel enforces it.

The guest's own filter (os_image/guest/files/etc/blindllama/firewall.nft) drops everything that this
file does not name. It names pods of the guest and fewer clients; nothing outside can be opened by it.

Source: nft(8), "Set statements", "Element statements".
"""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import TYPE_CHECKING

from app_disk.network import hardware_address, plan_network

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app_disk.application import App, Workload
    from app_disk.network import Clients, Opening

_TABLE = "blindllama"
"""Of the guest's filter, in the families inet and bridge."""


def network_rules(app: App) -> str:
    """The commands that let an application's connections pass: `/network.nft` of its disk.

    Raises:
        ManifestError: As `plan_network`.
    """
    plan = plan_network(app)
    pairs = {(one.source, one.target) for one in plan.passages}
    lines = [
        f"# What the NetworkPolicies of the application {app.name} let pass; measured with its disk.",
        *_elements("inet", "routes", map(_opening, plan.routes)),
        *_elements("inet", "probes", map(_opening, plan.probes)),
        *_elements("bridge", "links", map(_link, range(len(app.workloads)), app.workloads)),
        *_elements(
            "bridge",
            "pod_to_pod",
            (f"{one.source} . {one.target} . {one.port}" for one in plan.passages),
        ),
        *_elements(
            "bridge",
            "neighbours",
            (f"{a} . {b}" for a, b in sorted(pairs | {(b, a) for a, b in pairs})),
        ),
        *(_clients(plan.clients) if plan.clients is not None else ()),
    ]
    return "\n".join(lines) + "\n"


def _elements(family: str, name: str, elements: Iterable[str]) -> list[str]:
    found = list(elements)
    return [f"add element {family} {_TABLE} {name} {{ {', '.join(found)} }}"] if found else []


def _link(index: int, pod: Workload) -> str:
    return f"pod{index} . {hardware_address(pod.address)} . {pod.address}"


def _opening(one: Opening) -> str:
    return f"{one.address} . {one.port}"


def _clients(clients: Iterable[Clients]) -> list[str]:
    found = list(clients)
    rules = [
        f"{family} saddr {{ {', '.join(map(str, ranges))} }} return"
        for family, ranges in (
            ("ip", [one for one in found if isinstance(one, IPv4Network)]),
            ("ip6", [one for one in found if not isinstance(one, IPv4Network)]),
        )
        if ranges
    ]
    return [f"add rule inet {_TABLE} clients {rule}" for rule in (*rules, "drop")]
