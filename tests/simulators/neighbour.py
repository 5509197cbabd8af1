"""Neighbours on an Ethernet segment that speak frames, so that nothing between hides an answer.

A neighbour answers for its addresses, notes every packet that it gets, and sends what no honest
stack would. It sits on a tap device or on QEMU's datagram back end.

Silence proves nothing unless the other side was listening. So every batch of probes is followed by
a connection attempt to a port that is open: its answer shows that the batch had been taken in.
"""

from __future__ import annotations

import itertools
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address
from typing import Protocol

from tests.simulators import frame
from tests.simulators.frame import Address, Flag, Packet

PATIENCE_S = 60.0
"""How long an expected packet may take; an emulated guest on a busy machine is slow."""
ASK_AGAIN_S = 2.0
ATTEMPTS = 30
BATCH = 200
"""Probes between two proofs of life: less than the shortest queue on the way, of 256 frames."""
_PROOF_PORTS = range(60000, 65000)
_PROOFS = itertools.cycle(_PROOF_PORTS)
"""Where the proofs of life come from, and nothing else."""


class Port(Protocol):
    """Where frames come and go, one at a time; it never blocks."""

    def fileno(self) -> int: ...
    def send(self, data: bytes) -> None: ...
    def receive(self) -> bytes | None:
        """The next frame; None when there is none."""


@dataclass(slots=True, kw_only=True)
class Neighbour:
    """One machine on a segment."""

    port: Port
    mac: bytes
    addresses: tuple[Address, ...]
    """Its own."""
    everybody: bool = False
    """Whether it says that every address is here, as who wants to catch whatever gets out."""
    seen: list[Packet] = field(default_factory=list)
    """Every packet that it got, in order."""

    @property
    def traffic(self) -> list[Packet]:
        """What it got beside the search for neighbours and routers."""
        return [one for one in self.seen if one.carries]

    def own(self, version: int) -> Address:
        """Its address of an IP version."""
        return next(one for one in self.addresses if one.version == version)

    def send(self, to: bytes, target: Address, protocol: int, data: bytes) -> None:
        """Send a datagram from its own address to a machine on the segment."""
        source = self.own(target.version)
        self.port.send(frame.ip_frame(self.mac, to, source, target, protocol, data))

    def take(self) -> Iterator[Packet]:
        """Yield what has come, noted; whoever looks for this neighbour gets an answer first."""
        while (data := self.port.receive()) is not None:
            if data[6:12] == self.mac:
                continue  # a hub gives everybody everything
            packet = frame.parse_frame(data)
            self.seen.append(packet)
            self._introduce(packet)
            yield packet

    def _introduce(self, packet: Packet) -> None:
        wanted = packet.asks_for
        if wanted is None or not (self.everybody or wanted in self.addresses):
            return
        if wanted == packet.source or (packet.source is not None and not int(packet.source)):
            return  # somebody tries an address for himself
        if isinstance(wanted, IPv4Address):
            self.port.send(frame.arp_reply(self.mac, wanted, packet))
        else:
            self.port.send(frame.advertisement(self.mac, wanted, packet))


def serve(
    neighbours: Sequence[Neighbour],
    until: Callable[[Neighbour, Packet], bool] = lambda _neighbour, _packet: False,
    *,
    timeout_s: float = PATIENCE_S,
) -> Packet | None:
    """Let neighbours answer until a packet comes; it is returned, or None when the time is over."""
    deadline = time.monotonic() + timeout_s
    while True:
        for neighbour in neighbours:
            for packet in neighbour.take():
                if until(neighbour, packet):
                    return packet
        left = deadline - time.monotonic()
        if left <= 0:
            return None
        select.select([one.port for one in neighbours], [], [], left)


@dataclass(frozen=True, slots=True, kw_only=True)
class Probing:
    """A neighbour that tries every port of a machine on its segment."""

    neighbour: Neighbour
    target: Address
    mac: bytes
    """The target's."""
    open_port: int
    """A TCP port that is known to answer: the proof that the target takes in what is sent."""

    @classmethod
    def find(cls, neighbour: Neighbour, target: Address, *, open_port: int) -> Probing:
        """Look for a machine on the segment and make sure that its open port answers."""
        own = neighbour.own(target.version)
        for _ in range(ATTEMPTS):
            if isinstance(target, IPv4Address):
                assert isinstance(own, IPv4Address)
                neighbour.port.send(frame.arp_request(neighbour.mac, own, target))
            else:
                assert isinstance(own, IPv6Address)
                neighbour.port.send(frame.solicitation(neighbour.mac, own, target))
            found = serve(
                [neighbour],
                lambda _, packet: packet.source == target and packet.introduces,
                timeout_s=ASK_AGAIN_S,
            )
            if found is not None:
                probing = cls(
                    neighbour=neighbour, target=target, mac=found.source_mac, open_port=open_port
                )
                probing.prove_life()
                return probing
        raise AssertionError(f"{target} is not on this segment")

    def send(self, protocol: int, data: bytes) -> None:
        """Send one datagram to the target."""
        self.neighbour.send(self.mac, self.target, protocol, data)

    def connect(self, port: int, *, source_port: int) -> None:
        """Ask for a connection, once."""
        self.send(frame.TCP, frame.tcp_segment(source_port, port, Flag.SYN, sequence=1))

    def prove_life(self) -> None:
        """Return once the open port has answered to a connection that was asked for just now."""
        for _ in range(ATTEMPTS):
            source = next(_PROOFS)
            self.connect(self.open_port, source_port=source)
            answer = serve(
                [self.neighbour],
                lambda _, packet, source=source: (  # type: ignore[misc]
                    packet.source == self.target and packet.target_port == source
                ),
                timeout_s=ASK_AGAIN_S,
            )
            if answer is not None and answer.flags == Flag.SYN | Flag.ACK:
                reset = frame.tcp_segment(source, self.open_port, Flag.RST, sequence=2)
                self.send(frame.TCP, reset)
                return
        raise AssertionError(f"{self.target} does not answer at port {self.open_port} any more")

    def sweep_tcp(self, ports: Sequence[int], *, source_port: int) -> dict[int, Flag]:
        """What each TCP port answered; those that stayed silent are not there.

        Raises:
            AssertionError: Something else than TCP came back.
        """
        answers = self._sweep(ports, lambda port: self.connect(port, source_port=source_port))
        assert all(one.protocol == frame.TCP for one in answers), answers
        return {one.source_port: one.flags for one in answers}

    def sweep_udp(self, ports: Sequence[int], *, source_port: int) -> list[Packet]:
        """Whatever came back when each UDP port was sent a datagram."""
        return self._sweep(
            ports, lambda port: self.send(frame.UDP, frame.udp_datagram(source_port, port))
        )

    def _sweep(self, ports: Sequence[int], probe: Callable[[int], None]) -> list[Packet]:
        before = len(self.neighbour.seen)
        for start in range(0, len(ports), BATCH):
            for port in ports[start : start + BATCH]:
                probe(port)
            self.prove_life()
        return [
            one
            for one in self.neighbour.seen[before:]
            # A frame to somebody else on the segment answers nobody here.
            if one.source == self.target
            and one.target in self.neighbour.addresses
            and one.carries
            and one.target_port not in _PROOF_PORTS
        ]
