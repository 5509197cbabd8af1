"""A guest's network, tried from outside at every port and from inside two of its pods (N1 to N4).

One guest of its own, with an application whose pods tell what they reach. A neighbour on its network
segment sees every frame that the guest sends, from its first one on.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path

import pytest

from app_disk.locked import build_locked_app_disk
from app_disk.source import read_app
from blindllama.pcr import replay
from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from os_image.predict import pcr15
from standing import Published
from supply_chain.errors import BootError
from tests.e2e.raw import page, registers
from tests.simulators import frame
from tests.simulators.frame import Address, Flag
from tests.simulators.neighbour import Neighbour, Probing, serve
from tests.simulators.qemu_segment import QemuSegment, segment_arguments

pytestmark = pytest.mark.e2e

APP = Path(__file__).parent / "apps" / "network"
BOOTS = 3
ANSWERED = Flag.SYN | Flag.ACK
ALL_PORTS = range(1, 65536)

GUEST: tuple[Address, ...] = (IPv4Address("10.0.2.15"), IPv6Address("fe80::5054:ff:fe12:3456"))
"""What QEMU's user network leases, and what follows from the card's address."""
NEIGHBOUR: tuple[Address, ...] = (IPv4Address("10.0.2.77"), IPv6Address("fe80::77"))

DHCP = {(frame.UDP, 68, 67)}
"""What a guest says unasked: for a lease, by broadcast, and later to renew it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Probed:
    """The guest, and who is beside it."""

    guest: vm.Guest
    neighbour: Neighbour
    descriptor: bytes
    """Of its application's disk."""


@pytest.fixture(scope="module")
def probed(
    site: Site, published: Published, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Probed]:
    """Return a guest of the release's image with the probing application."""
    folder = tmp_path_factory.mktemp("network")
    disk = build_locked_app_disk(
        read_app(APP),
        directory=APP,
        engine=None,
        inputs=site.inputs,
        out=folder,
        progress=site.progress,
    )
    parts = deployed.release_parts(site.workspace, now=site.clock())
    with tempfile.TemporaryDirectory(prefix="bl-segment-") as sockets:
        additions = segment_arguments(Path(sockets))
        segment, guest = _booted(
            site, replace(parts, app_disk=disk.image, additions=additions), folder / "guest"
        )
        neighbour = Neighbour(port=segment, mac=bytes.fromhex("020000000077"), addresses=NEIGHBOUR)
        try:
            yield Probed(guest=guest, neighbour=neighbour, descriptor=disk.descriptor)
        finally:
            vm.down(guest.directory)
            segment.close()


def _booted(site: Site, parts: vm.Parts, folder: Path) -> tuple[QemuSegment, vm.Guest]:
    """A guest whose every frame was seen; the emulator's own rare panics do not count."""
    sockets = Path(parts.additions[1].partition("path=")[2].partition(",")[0]).parent
    for attempt in range(1, BOOTS + 1):
        segment = QemuSegment(sockets)
        try:
            guest = vm.boot(folder, parts, now=site.clock(), attempts=1, progress=site.progress)
        except BootError as exc:
            segment.close()
            if attempt == BOOTS or vm.EMULATOR_PANIC not in str(exc):
                raise
        except BaseException:
            segment.close()
            raise
        else:
            return segment, guest
    raise AssertionError("unreachable: the last attempt returns or raises")


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n1_every_tcp_port_but_one_is_silent(probed: Probed, target: Address) -> None:
    probing = Probing.find(probed.neighbour, target, open_port=443)
    assert probing.sweep_tcp(ALL_PORTS, source_port=20000) == {443: ANSWERED}


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n2_source_port_53_is_no_way_in(probed: Probed, target: Address) -> None:
    probing = Probing.find(probed.neighbour, target, open_port=443)
    assert probing.sweep_tcp(range(1, 1025), source_port=53) == {443: ANSWERED}


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n1_every_udp_port_is_silent(probed: Probed, target: Address) -> None:
    probing = Probing.find(probed.neighbour, target, open_port=443)
    assert probing.sweep_udp(ALL_PORTS, source_port=53) == []


@pytest.mark.parametrize("target", GUEST, ids=["IPv4", "IPv6"])
def test_n1_pings_are_not_answered(probed: Probed, target: Address) -> None:
    probing = Probing.find(probed.neighbour, target, open_port=443)
    protocol = frame.ICMP if target.version == 4 else frame.ICMPV6
    before = len(probed.neighbour.seen)
    probing.send(protocol, frame.echo_request(target.version))
    probing.prove_life()
    answers = [one for one in probed.neighbour.seen[before:] if one.protocol == protocol]
    assert not any(one.carries for one in answers)


def test_n3_nothing_is_passed_on_to_a_pod(probed: Probed) -> None:
    """Packets for a pod's own address, sent to the guest's card."""
    probing = Probing.find(probed.neighbour, GUEST[0], open_port=443)
    neighbour, pod = probed.neighbour, IPv4Address("10.89.0.10")
    before = len(neighbour.seen)
    segment = frame.tcp_segment(20001, 8080, Flag.SYN, sequence=1)
    neighbour.port.send(
        frame.ip_frame(neighbour.mac, probing.mac, neighbour.own(4), pod, frame.TCP, segment)
    )
    probing.prove_life()
    assert not [one for one in neighbour.seen[before:] if one.source == pod]


REACHED = {
    "nc -w 3 10.89.0.10 8080",
    "nc -w 3 ::1 8080",
    "nc -w 3 10.89.0.11 8081",
    "ls /dev/null",
}
"""What the policies let the first pod reach, itself among it; and the proof that files are seen."""
PAGE_S = 300.0
"""The pod tries for half a minute, on an emulated and busy machine for longer."""


def _told(text: str) -> dict[str, tuple[bool, str]]:
    """What a pod has tried: whether it worked, and what was said."""
    rows = re.findall(r"^(\d+) \| (.+?) \|(.*)$", text, re.MULTILINE)
    return {what: (status == "0", said.strip()) for status, what, said in rows}


def test_n2_n4_a_pod_reaches_what_its_policies_name_and_nothing_else(probed: Probed) -> None:
    told = _told(page(probed.guest.url, "/reach.sh", timeout_s=PAGE_S))
    assert len(told) >= 40, told
    assert {what for what, (worked, _) in told.items() if worked} == REACHED, told
    _assert_reasons(told)


def test_n2_another_pod_of_the_application_reaches_nobody_but_itself(probed: Probed) -> None:
    """Asked by the first pod, which is the only one that may."""
    told = _told(page(probed.guest.url, "/other.sh", timeout_s=PAGE_S))
    assert len(told) >= 40, told
    own = {f"nc -w 3 {place}" for place in ("10.89.0.11 8081", "10.89.0.11 8082", "::1 8081")}
    own.add("ls /dev/null")
    assert {what for what, (worked, _) in told.items() if worked} == own, told
    _assert_reasons(told)


def _assert_reasons(told: Mapping[str, tuple[bool, str]]) -> None:
    """Nothing failed because the program for it is not there."""
    for what, (_, said) in told.items():
        assert "not found" not in said, (what, said)
        assert "bad address 'fe80" not in said, (what, said)
    for device in ("/dev/tpm0", "/dev/tpmrm0"):
        assert "No such file" in told[f"ls {device}"][1]
    assert (
        "ermi" in told["mknod /dev/tpm0 c 10 224"][1]
        or "Read-only" in told["mknod /dev/tpm0 c 10 224"][1]
    )


def test_n2_n3_nothing_leaves_the_guest_but_answers(probed: Probed) -> None:
    """Every frame since the card was switched on, through all of the above."""
    page(probed.guest.url, "/reach.sh", timeout_s=PAGE_S)
    serve([probed.neighbour], timeout_s=1)
    sent = [one for one in probed.neighbour.traffic if one.source not in NEIGHBOUR]
    others = {
        (one.protocol, one.source_port, one.target_port)
        for one in sent
        if (one.protocol, one.source_port) != (frame.TCP, 443)
    }
    assert others == DHCP
    assert len(sent) > 1000


def test_the_policies_are_measured(probed: Probed, published: Published) -> None:
    """Another application with other policies: register 15 says so, as it was predicted."""
    events = pcr15.events(probed.descriptor)
    found = registers(probed.guest.url)[15]
    assert found == replay(event.digest for event in events)
    assert found != published.verified.expected.values[15]
