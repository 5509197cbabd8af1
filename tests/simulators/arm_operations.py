"""Which permissions a request needs, in the words of Azure's roles.

A request to a resource needs its own operation; and a body that names another resource needs the
right to use that one, which for parts of the network is called joining it.

Source: Microsoft's list of operations of Microsoft.Compute, Microsoft.Network and
Microsoft.Resources.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from tests.simulators.arm import Asked
from tests.simulators.arm_rules import references

POLLS = frozenset(
    {
        "Microsoft.Compute/locations/capsOperations/read",
        "Microsoft.Compute/locations/diskOperations/read",
        "Microsoft.Compute/locations/operations/read",
        "Microsoft.Network/locations/operationResults/read",
        "Microsoft.Network/locations/operations/read",
    }
)
"""For asking whether an operation is over: in Azure, each kind of resource has its own address for
that; here there is one."""

_VERBS = {"GET": "read", "PUT": "write", "DELETE": "delete"}
_JOINED = frozenset(
    {
        "loadBalancers/backendAddressPools",
        "loadBalancers/probes",
        "networkInterfaces",
        "networkSecurityGroups",
        "publicIPAddresses",
        "virtualNetworks/subnets",
    }
)
_GROUPS = "Microsoft.Resources/subscriptions/resourceGroups"


def permissions(requests: Iterable[Asked]) -> set[str]:
    """What all these requests need together."""
    return {one for asked in requests for one in _of(asked)}


def _of(asked: Asked) -> Iterator[str]:
    parts = asked.path.strip("/").split("/")
    if parts[2] == "operations":
        yield from POLLS
        return
    if parts[4:] == ["resources"]:
        yield "Microsoft.Resources/subscriptions/resourcegroups/resources/read"
        return
    if len(parts) == 4:
        yield f"{_GROUPS}/{_VERBS[asked.verb]}"
        return
    kind, action = _kind(parts)
    yield f"{kind}/{action}/action" if action else f"{kind}/{_VERBS[asked.verb]}"
    if asked.verb == "PUT":
        for reference in references(asked.body):
            yield from _use(reference.strip("/").split("/"), asked.path.lower())


def _use(parts: list[str], user: str) -> Iterator[str]:
    if f"/{'/'.join(parts)}".lower().startswith(user):
        return  # a part of the resource itself
    kind, _ = _kind(parts)
    if kind.partition("/")[2] in _JOINED:
        yield f"{kind}/join/action"
    else:
        yield f"{kind}/read"


def _kind(parts: list[str]) -> tuple[str, str]:
    """The kind of a resource, and what is done with it; types and names take turns."""
    turns = parts[6:]
    action = turns.pop() if len(turns) % 2 else ""
    return "/".join([parts[5], *turns[::2]]), action
