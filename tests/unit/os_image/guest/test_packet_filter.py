"""The guest's packet filter, restored in a network namespace, against packets that are really sent.

Neighbours that speak frames are on the other ends of the guest's interfaces; what they see is what
got out. Every scenario has its control: the same packets without the rules.
"""

from __future__ import annotations

import socket
import tomllib
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

import os_image
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree
from tests.conftest import locked_tree
from tests.simulators import frame
from tests.simulators.frame import Address, Flag
from tests.simulators.guest_network import (
    GATEWAY,
    GUEST,
    LINKS,
    OTHER_POD,
    OUTSIDE,
    POD,
    QUIET_S,
    SERVED,
    World,
    guest_network,
)
from tests.simulators.neighbour import Probing
from tests.simulators.network_space import Attempt

pytestmark = pytest.mark.root

SPEC = Path(os_image.__file__).parent / "os-image.toml"
ALL_PORTS = range(1, 65536)
SOME_PORTS = (1, 22, 53, 80, 443, 8080, 8443, 65535)
_SERVICES = (("tcp", 80), ("tcp", 443), ("tcp", 53), ("udp", 53), ("udp", 123), ("udp", 443))
_NUMBERS = {"tcp": frame.TCP, "udp": frame.UDP}
ANSWERED = Flag.SYN | Flag.ACK
ETH_P_ALL = 3
"""Frames of every protocol; of Linux, include/uapi/linux/if_ether.h."""

FAR = (
    IPv4Address("198.51.100.7"),
    IPv6Address("2001:db8:ffff::7"),
    IPv4Address("169.254.169.254"),
    IPv4Address("10.0.2.2"),
)
APP_RULES = f"""
{LINKS}
add element inet blindllama routes {{ {POD} . 8080 }}
add element inet blindllama probes {{ {POD} . 8081 }}
"""


@pytest.fixture(scope="module")
def guest_tree(lock: Lock, store: Store) -> Tree:
    """The guest's own packages: its nft is the one that is asked."""
    return locked_tree("rootfs", lock, store)


@pytest.fixture
def world(guest_tree: Tree) -> Iterator[World]:
    """A guest's network without any rule."""
    with guest_network(guest_tree) as found:
        yield found


def _user(name: str) -> int:
    users = tomllib.loads(SPEC.read_text())["users"]
    return next(int(user["uid"]) for user in users if user["name"] == name)


ROOT, TERMINATOR, ATTESTATION = 0, _user("caddy"), _user("blindllama")
NETWORK_DAEMON = _user("systemd-network")


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n1_one_tcp_port_of_all_answers(world: World, target: Address) -> None:
    probing = Probing.find(world.outside, target, open_port=443)
    open_before = probing.sweep_tcp(SOME_PORTS, source_port=20000)
    assert {port for port, flags in open_before.items() if flags == ANSWERED} == set(SERVED)
    assert open_before.keys() == set(SOME_PORTS)

    world.load()
    assert probing.sweep_tcp(ALL_PORTS, source_port=20001) == {443: ANSWERED}


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n2_source_port_53_is_no_way_in(world: World, target: Address) -> None:
    probing = Probing.find(world.outside, target, open_port=443)
    assert probing.sweep_tcp(SOME_PORTS, source_port=53).keys() == set(SOME_PORTS)

    world.load()
    assert probing.sweep_tcp(SOME_PORTS, source_port=53) == {443: ANSWERED}


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n1_no_udp_port_answers(world: World, target: Address) -> None:
    probing = Probing.find(world.outside, target, open_port=443)
    # The kernel limits how many unreachable ports it tells of, so the control asks for one.
    assert probing.sweep_udp([9], source_port=53) != []

    world.load()
    assert probing.sweep_udp(ALL_PORTS, source_port=53) == []


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n1_pings_are_not_answered(world: World, target: Address) -> None:
    probing = Probing.find(world.outside, target, open_port=443)
    protocol = frame.ICMP if target.version == 4 else frame.ICMPV6
    answers = []
    for filtered in (False, True):
        if filtered:
            world.load()
        world.forget()
        probing.send(protocol, frame.echo_request(target.version))
        probing.prove_life()
        answers.append([one for one in world.outside.traffic if one.protocol == protocol])
    assert [len(one) for one in answers] == [1, 0]


@pytest.mark.parametrize(
    "user", [ROOT, TERMINATOR, ATTESTATION, NETWORK_DAEMON], ids=lambda uid: f"uid {uid}"
)
def test_n3_nobody_reaches_out(world: World, user: int) -> None:
    tries = [Attempt(kind=kind, to=far, port=port) for far in FAR for kind, port in _SERVICES]
    world.attempt(user, tries)
    assert {(one.protocol, one.target, one.target_port) for one in world.outside.traffic} == {
        (_NUMBERS[one.kind], one.to, one.port) for one in tries
    }

    world.load(APP_RULES)
    world.attempt(user, tries)
    assert world.outside.traffic == []


def test_the_lease_is_renewed_by_one_user_alone(world: World) -> None:
    world.load()
    renewal = Attempt(kind="udp", to=OUTSIDE[0], port=67, source_port=68)
    for user, ports in ((ROOT, []), (NETWORK_DAEMON, [67])):
        # Root may use port 68; the daemon gets it by a capability that a plain user lacks here.
        Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").write_text("0")
        world.attempt(user, [renewal])
        assert [one.target_port for one in world.outside.traffic] == ports


@pytest.mark.parametrize(
    ("user", "reached"),
    [
        pytest.param(TERMINATOR, {8080}, id="terminator"),
        pytest.param(ATTESTATION, {8081}, id="readiness"),
        pytest.param(ROOT, set(), id="root"),
        pytest.param(NETWORK_DAEMON, set(), id="network daemon"),
    ],
)
def test_n3_who_asks_a_pod(world: World, user: int, reached: set[int]) -> None:
    asked = (("tcp", 22), ("tcp", 8080), ("tcp", 8081), ("udp", 8080))
    tries = [
        Attempt(kind=kind, to=pod, port=port) for pod in (POD, OTHER_POD) for kind, port in asked
    ]
    world.attempt(user, tries)
    for pod in world.pods:
        assert len(pod.traffic) == 4

    world.load()
    world.attempt(user, tries)
    assert [pod.traffic for pod in world.pods] == [[], []]

    world.space.filter(APP_RULES)
    world.attempt(user, tries)
    assert {(one.protocol, one.target_port) for one in world.pods[0].traffic} == {
        (frame.TCP, port) for port in reached
    }
    assert world.pods[1].traffic == []


def test_n2_a_pod_asks_nobody(world: World) -> None:
    """Neither the guest, at any of its addresses, nor past it; what it asks is not even answered."""
    pod, other = world.pods
    asked: list[Address] = [*GUEST, GATEWAY, OUTSIDE[0], OUTSIDE[1], IPv4Address("169.254.169.254")]
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
    gateway = Probing.find(pod, GATEWAY, open_port=443).mac

    def ask() -> None:
        world.forget()
        for to in asked:
            own = pod.own(to.version)
            for port in (22, 53, 443):
                pod.port.send(
                    frame.ip_frame(
                        pod.mac, gateway, own, to, frame.TCP, frame.tcp_segment(9, port, Flag.SYN)
                    )
                )
                pod.port.send(
                    frame.ip_frame(
                        pod.mac, gateway, own, to, frame.UDP, frame.udp_datagram(9, port)
                    )
                )
            protocol = frame.ICMP if to.version == 4 else frame.ICMPV6
            pod.port.send(
                frame.ip_frame(pod.mac, gateway, own, to, protocol, frame.echo_request(to.version))
            )
        world.settle()

    ask()
    answered = {one.source for one in pod.traffic}
    assert answered >= {GUEST[0], GATEWAY}
    assert {one.target for one in world.outside.traffic} >= {OUTSIDE[0], asked[-1]}

    world.load(APP_RULES)
    ask()
    assert pod.traffic == []
    assert world.outside.traffic == []
    assert other.traffic == []


def _pretended(world: World, gateway: bytes) -> dict[str, bytes]:
    """What the first pod's side could send to be taken for the other pod, or for the guest."""
    pod, other = world.pods
    data = frame.tcp_segment(8080, 40000, ANSWERED)

    def segment(mac: bytes, source: IPv4Address) -> bytes:
        return frame.ip_frame(mac, gateway, source, GATEWAY, frame.TCP, data)

    asker = frame.parse_frame(frame.arp_request(gateway, GATEWAY, OTHER_POD))
    tag = bytes.fromhex("81000001")
    both = segment(other.mac, OTHER_POD)
    return {
        "itself": segment(pod.mac, POD),
        "another's IP address": segment(pod.mac, OTHER_POD),
        "the guest's IP address": segment(pod.mac, GATEWAY),
        "another's hardware address": segment(other.mac, POD),
        "both of another": both,
        "that another is here": frame.arp_reply(pod.mac, OTHER_POD, asker),
        "that it is another": frame.arp_reply(other.mac, POD, asker),
        "both in a VLAN": both[:12] + tag + both[12:],
    }


def test_n2_what_a_pod_sends_bears_its_own_addresses(world: World) -> None:
    """Seen on the guest's side of the bridge: what it has dropped, it has learnt nothing from."""
    gateway = Probing.find(world.pods[0], GATEWAY, open_port=443).mac
    everything = _pretended(world, gateway)
    came = []
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as side:
        side.bind(("bl0", 0))
        side.settimeout(QUIET_S)
        for filtered in (False, True):
            if filtered:
                world.load(APP_RULES)
            came.append({what for what, data in everything.items() if _arrives(side, world, data)})
    assert came == [set(everything), {"itself"}]


def _arrives(side: socket.socket, world: World, data: bytes) -> bool:
    world.pods[0].port.send(data)
    try:
        while side.recvfrom(2048)[1][2] == socket.PACKET_OUTGOING:
            pass
    except TimeoutError:
        return False
    return True


def test_n2_nobody_takes_another_pods_place(world: World) -> None:
    """What the terminator sends to a pod goes where that pod is, whoever says that he is it."""
    pod, other = world.pods
    gateway = Probing.find(pod, GATEWAY, open_port=443).mac
    pretended = _pretended(world, gateway)["both of another"]
    to_the_other = [Attempt(kind="tcp", to=OTHER_POD, port=8080)]
    rules = APP_RULES + f"add element inet blindllama routes {{ {OTHER_POD} . 8080 }}\n"
    reached = []
    for filtered in (False, True):
        if filtered:
            world.load(rules)
            other.port.send(frame.arp_request(other.mac, OTHER_POD, GATEWAY))
        world.attempt(TERMINATOR, to_the_other)
        pod.port.send(pretended)
        world.attempt(TERMINATOR, to_the_other)
        reached.append([bool(one.traffic) for one in (pod, other)])
    assert reached == [[True, False], [False, True]]


def test_n3_nothing_is_forwarded(world: World) -> None:
    """From outside to a pod, past the ingress."""
    outside, pod = world.outside, world.pods[0]
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
    guest = Probing.find(outside, GUEST[0], open_port=443)

    def ask() -> None:
        world.forget()
        segment = frame.tcp_segment(9, 8080, Flag.SYN)
        outside.port.send(
            frame.ip_frame(outside.mac, guest.mac, OUTSIDE[0], POD, frame.TCP, segment)
        )
        world.settle()

    ask()
    assert [one.target_port for one in pod.traffic] == [8080]

    world.load(APP_RULES)
    ask()
    assert pod.traffic == []
