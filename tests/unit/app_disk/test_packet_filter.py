"""NetworkPolicies as the kernel applies them: the rules of a disk, and packets that are really sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from app_disk.application import parse_app
from app_disk.build import build_app_disk
from app_disk.image import PAUSE_NAME, PAUSE_TAG, SERVER_NAME
from app_disk.packet_filter import network_rules
from blindllama.pcr import replay
from os_image.predict import pcr15
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree
from supply_chain.progress import SilentProgress
from tests.conftest import locked_tree
from tests.simulators import frame
from tests.simulators.frame import Address, Flag, Packet
from tests.simulators.guest_network import GUEST, World, guest_network
from tests.simulators.neighbour import Neighbour, Probing
from tests.unit.app_disk.conftest import Documents, ImageMaker, client_policy

pytestmark = pytest.mark.root

ANSWERED = Flag.SYN | Flag.ACK


@pytest.fixture(scope="module")
def guest_tree(lock: Lock, store: Store) -> Tree:
    """The guest's own packages: its nft is the one that is asked."""
    return locked_tree("rootfs", lock, store)


@pytest.fixture
def world(guest_tree: Tree) -> Iterator[World]:
    """A guest's network without any rule."""
    with guest_network(guest_tree) as found:
        yield found


def _rules(documents: Documents) -> str:
    return network_rules(parse_app([json.dumps(document) for document in documents]))


def _sent(world: World, source: Neighbour, target: Neighbour, segment: bytes) -> list[Packet]:
    """What of a segment from pod to pod arrives."""
    world.forget()
    to = target.own(4)
    source.port.send(frame.ip_frame(source.mac, target.mac, source.own(4), to, frame.TCP, segment))
    world.settle()
    return target.traffic


def test_a_pod_reaches_the_port_that_two_policies_agree_on(
    world: World, three_pods: Documents
) -> None:
    web, store = world.pods
    asks = frame.tcp_segment(40000, 5432, Flag.SYN)
    answers = frame.tcp_segment(5432, 40000, ANSWERED)
    cases = {
        "asks": (web, store, asks),
        "answers": (store, web, answers),
        "another port": (web, store, frame.tcp_segment(40000, 22, Flag.SYN)),
        "asks back": (store, web, frame.tcp_segment(40000, 5432, Flag.SYN)),
        "asks back from its port": (store, web, frame.tcp_segment(5432, 40000, Flag.SYN)),
    }
    assert all(len(_sent(world, *case)) == 1 for case in cases.values())

    world.load()
    assert not any(_sent(world, *case) for case in cases.values())

    world.space.filter(_rules(three_pods))
    passed = {name for name, case in cases.items() if _sent(world, *case)}
    assert passed == {"asks", "answers"}


def test_pods_of_one_application_find_each_other_only_if_they_may_talk(
    world: World, documents: Documents, three_pods: Documents
) -> None:
    web, store = world.pods
    question = frame.arp_request(web.mac, _ipv4(web), _ipv4(store))
    found = []
    for rules in (_rules(documents), _rules(three_pods)):
        world.load(rules)
        world.forget()
        web.port.send(question)
        world.settle()
        found.append([one.source for one in web.seen if one.introduces])
    assert found == [[], [_ipv4(store)]]


def test_there_is_no_ipv6_between_pods(world: World, three_pods: Documents) -> None:
    web, store = world.pods
    ping = frame.ip_frame(
        web.mac, store.mac, web.own(6), store.own(6), frame.ICMPV6, frame.echo_request(6)
    )
    arrived = []
    for rules in ("", "*"):
        if rules:
            world.load(_rules(three_pods))
        world.forget()
        web.port.send(ping)
        world.settle()
        arrived.append(len(store.traffic))
    assert arrived == [1, 0]


@pytest.mark.parametrize(
    ("family", "ours", "theirs"),
    [
        pytest.param(4, "192.0.2.64/26", "192.0.2.0/26", id="IPv4"),
        pytest.param(6, "2001:db8:0:0:ffff::/80", "2001:db8::/80", id="IPv6"),
    ],
)
def test_a_client_that_no_policy_names_is_not_answered(
    world: World, documents: Documents, family: int, ours: str, theirs: str
) -> None:
    """The port is open for the one range and silent for the other, also in the middle of a flow."""
    target = next(one for one in GUEST if one.version == family)
    named = _client(world, family)
    guest = Probing.find(world.outside, target, open_port=443)
    stranger = Probing.find(named, target, open_port=443)
    world.load()
    guest.prove_life()
    stranger.prove_life()

    world.load(_rules([*documents, client_policy({"cidr": ours})]))
    stranger.prove_life()
    world.outside.seen.clear()
    guest.connect(443, source_port=20000)
    guest.send(frame.TCP, frame.tcp_segment(20000, 443, Flag.ACK, sequence=2, answers=2))
    stranger.prove_life()
    assert [one for one in named.traffic if one.target_port == 20000] == []

    world.load(_rules([*documents, client_policy({"cidr": theirs})]))
    guest.prove_life()


def _client(world: World, family: int) -> Neighbour:
    """Another machine on the uplink."""
    addresses: tuple[Address, ...] = (
        IPv4Address("192.0.2.100"),
        IPv6Address("2001:db8::ffff:0:0:1"),
    )
    assert {one.version for one in addresses} >= {family}
    return Neighbour(
        port=world.outside.port, mac=bytes.fromhex("020000000064"), addresses=addresses
    )


def _ipv4(pod: Neighbour) -> IPv4Address:
    own = pod.own(4)
    assert isinstance(own, IPv4Address)
    return own


def _pcr_15(documents: Documents, make_image: ImageMaker, tools: Tree, out: Path) -> bytes:
    """Register 15 of a guest with the disk of these objects, without the engine that they mount."""
    out.mkdir()
    disk = build_app_disk(
        parse_app([json.dumps(document) for document in documents]),
        images=(make_image(SERVER_NAME), make_image(PAUSE_NAME, PAUSE_TAG)),
        engine=None,
        tools=tools,
        out=out,
        progress=SilentProgress(),
    )
    return replay(event.digest for event in pcr15.events(disk.descriptor))


def test_another_network_policy_is_another_pcr_15(
    documents: Documents, make_image: ImageMaker, tools: Tree, tmp_path: Path
) -> None:
    blocks = ("203.0.113.0/24", "203.0.113.0/25")
    policies = ([], *([client_policy({"cidr": block})] for block in blocks))
    values = [
        _pcr_15([*documents, *policy], make_image, tools, tmp_path / str(number))
        for number, policy in enumerate((*policies, policies[-1]))
    ]
    assert len(set(values)) == 3
    assert values[-1] == values[-2]
