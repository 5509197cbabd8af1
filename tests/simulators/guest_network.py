"""The network of a guest, in a namespace: an uplink, a bridge with two pods, and who is on them.

There is no rule in it at first, and there are servers at ports that must not be reached: a test sees
the same packets pass that it then sees dropped.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

from os_image.packet_filter import FIREWALL
from supply_chain.inputs.tree import Tree
from tests.simulators.frame import Address
from tests.simulators.neighbour import Neighbour, serve
from tests.simulators.network_space import Attempt, NetworkSpace, network_space

SERVED = (22, 443, 8080)
"""TCP ports that somebody listens at; the filter knows the second."""

GUEST = (IPv4Address("192.0.2.2"), IPv6Address("2001:db8::2"))
OUTSIDE = (IPv4Address("192.0.2.1"), IPv6Address("2001:db8::1"))
GATEWAY = IPv4Address("10.89.0.1")
POD, OTHER_POD = IPv4Address("10.89.0.10"), IPv4Address("10.89.0.11")

LINKS = f"""
add element bridge blindllama links {{ pod0 . 02:00:0a:59:00:0a . {POD} }}
add element bridge blindllama links {{ pod1 . 02:00:0a:59:00:0b . {OTHER_POD} }}
"""
"""What a disk's rules say about the two pods."""

QUIET_S = 0.2
"""Everything happens within the calls that send; this is for a kernel that is busy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """The guest's network and who is on it."""

    space: NetworkSpace
    outside: Neighbour
    """On the uplink; says that every address is there."""
    pods: tuple[Neighbour, Neighbour]

    @property
    def everybody(self) -> list[Neighbour]:
        return [self.outside, *self.pods]

    def load(self, *rules: str) -> None:
        """Load the guest's own filter, and more after it."""
        self.space.filter("\n".join((FIREWALL.read_text(), *rules)))

    def forget(self) -> None:
        """Forget what was seen."""
        for neighbour in self.everybody:
            neighbour.seen.clear()

    def settle(self) -> None:
        """Let everything that was sent arrive: who is looked for is found, and then sent to."""
        serve(self.everybody, timeout_s=QUIET_S)

    def attempt(self, user: int, attempts: Iterable[Attempt]) -> None:
        """Let a user of the guest try connections, and see what of them gets out."""
        self.forget()
        self.space.attempt(user, attempts)
        self.settle()


@contextlib.contextmanager
def guest_network(tree: Tree) -> Iterator[World]:
    """Be in the network, with the guest's own programs from the tree."""
    with network_space(tree, "uplink", "pod0", "pod1") as space:
        space.ip(
            "link add bl0 type bridge",
            "link set bl0 up",
            "link set pod0 master bl0",
            "link set pod1 master bl0",
            f"address add {GATEWAY}/24 dev bl0",
            *(f"address add {own}/{24 if own.version == 4 else 64} dev uplink" for own in GUEST),
            f"route add default via {OUTSIDE[0]}",
            f"route add ::/0 via {OUTSIDE[1]}",
        )
        # The guest does not have the module that sends bridged packets through the rules for routed
        # ones; this kernel may have it built in.
        for switch in Path("/proc/sys/net/bridge").glob("bridge-nf-call-*"):
            switch.write_text("0")
        with _servers():
            yield World(
                space=space,
                outside=Neighbour(
                    port=space.taps["uplink"],
                    mac=bytes.fromhex("020000000001"),
                    addresses=OUTSIDE,
                    everybody=True,
                ),
                pods=(_pod(space, "pod0", POD, 10), _pod(space, "pod1", OTHER_POD, 11)),
            )


def _pod(space: NetworkSpace, name: str, address: IPv4Address, number: int) -> Neighbour:
    own: tuple[Address, ...] = (address, IPv6Address(f"fe80::{number}"))
    mac = b"\2\0" + address.packed
    return Neighbour(port=space.taps[name], mac=mac, addresses=own)


@contextlib.contextmanager
def _servers() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for port in SERVED:
            stack.enter_context(
                socket.create_server(("::", port), family=socket.AF_INET6, dualstack_ipv6=True)
            )
        yield
