"""Ethernet frames as bytes, both families: what a neighbour on a guest's network sends and sees.

Source: RFC 826 (ARP), RFC 791, RFC 8200 (IP), RFC 9293 (TCP), RFC 768 (UDP), RFC 4861 (neighbour
discovery), RFC 1071 (checksum).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntFlag
from ipaddress import IPv4Address, IPv6Address

Address = IPv4Address | IPv6Address

BROADCAST = b"\xff" * 6
ETHERTYPE_IPV4, ETHERTYPE_ARP, ETHERTYPE_IPV6 = 0x0800, 0x0806, 0x86DD
ICMP, IGMP, TCP, UDP, ICMPV6 = 1, 2, 6, 17, 58
ECHO_REQUEST = {4: 8, 6: 128}
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
_HOUSEKEEPING = (*range(130, 138), 143)
"""ICMPv6: multicast listeners, router and neighbour discovery."""
_HOP_BY_HOP = 0
_HOPS = 255


class Flag(IntFlag):
    """The flags of a TCP header that matter here."""

    FIN = 1
    SYN = 2
    RST = 4
    ACK = 16


NO_FLAG = Flag(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """What a frame carries, as far as a test asks."""

    source_mac: bytes
    protocol: int
    """Of IP; `ETHERTYPE_ARP` for ARP, 0 for what is neither."""
    source: Address | None = None
    target: Address | None = None
    source_port: int = 0
    target_port: int = 0
    """Ports of TCP and UDP; for ICMP the type and the code."""
    flags: Flag = NO_FLAG
    sequence: int = 0
    """Of TCP."""
    asks_for: Address | None = None
    """The address whose owner ARP or neighbour discovery looks for."""

    @property
    def introduces(self) -> bool:
        """Whether it says where an address is."""
        kind = (self.protocol, self.source_port)
        return self.protocol == ETHERTYPE_ARP or kind == (ICMPV6, NEIGHBOUR_ADVERTISEMENT)

    @property
    def carries(self) -> bool:
        """Whether it carries anything, beside the search for neighbours, routers and groups."""
        if self.protocol == ICMPV6:
            return self.source_port not in _HOUSEKEEPING
        return self.protocol not in {ETHERTYPE_ARP, IGMP}


def parse_frame(frame: bytes) -> Packet:
    """What is in a frame; of extension headers only the one of multicast listeners is passed over."""
    mac = frame[6:12]
    (kind,) = struct.unpack_from("!H", frame, 12)
    body = frame[14:]
    if kind == ETHERTYPE_ARP:
        return Packet(
            source_mac=mac,
            protocol=ETHERTYPE_ARP,
            source=IPv4Address(body[14:18]),
            target=IPv4Address(body[24:28]),
            asks_for=IPv4Address(body[24:28]) if body[6:8] == b"\0\1" else None,
        )
    if kind == ETHERTYPE_IPV4:
        header = (body[0] & 15) * 4
        (length,) = struct.unpack_from("!H", body, 2)
        source, target = IPv4Address(body[12:16]), IPv4Address(body[16:20])
        return _transport(mac, body[9], source, target, body[header:length])
    if kind == ETHERTYPE_IPV6:
        (length,) = struct.unpack_from("!H", body, 4)
        source6, target6 = IPv6Address(body[8:24]), IPv6Address(body[24:40])
        protocol, data = body[6], body[40 : 40 + length]
        if protocol == _HOP_BY_HOP:
            protocol, data = data[0], data[(data[1] + 1) * 8 :]
        return _transport(mac, protocol, source6, target6, data)
    return Packet(source_mac=mac, protocol=0)


def _transport(mac: bytes, protocol: int, source: Address, target: Address, data: bytes) -> Packet:
    first, second, sequence, flags = 0, 0, 0, NO_FLAG
    asks_for: Address | None = None
    if protocol == TCP:
        first, second, sequence = struct.unpack_from("!HHI", data)
        flags = Flag(data[13] & 0x17)
    elif protocol == UDP:
        first, second = struct.unpack_from("!HH", data)
    elif protocol in {ICMP, ICMPV6}:
        first, second = data[0], data[1]
        if (protocol, first) == (ICMPV6, NEIGHBOUR_SOLICITATION):
            asks_for = IPv6Address(data[8:24])
    return Packet(
        source_mac=mac,
        protocol=protocol,
        source=source,
        target=target,
        source_port=first,
        target_port=second,
        flags=flags,
        sequence=sequence,
        asks_for=asks_for,
    )


def arp_request(mac: bytes, source: IPv4Address, target: IPv4Address) -> bytes:
    """The question who has an address, to everybody."""
    body = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, 1)
    body += mac + source.packed + bytes(6) + target.packed
    return BROADCAST + mac + struct.pack("!H", ETHERTYPE_ARP) + body


def arp_reply(mac: bytes, owned: IPv4Address, asker: Packet) -> bytes:
    """The answer that an address is here."""
    assert isinstance(asker.source, IPv4Address)
    body = struct.pack("!HHBBH", 1, ETHERTYPE_IPV4, 6, 4, 2)
    body += mac + owned.packed + asker.source_mac + asker.source.packed
    return asker.source_mac + mac + struct.pack("!H", ETHERTYPE_ARP) + body


def solicitation(mac: bytes, source: IPv6Address, target: IPv6Address) -> bytes:
    """The question who has an IPv6 address, to its solicited-node group."""
    group = IPv6Address(IPv6Address("ff02::1:ff00:0").packed[:13] + target.packed[13:])
    body = bytes([NEIGHBOUR_SOLICITATION, 0, 0, 0]) + bytes(4) + target.packed + b"\1\1" + mac
    return ip_frame(mac, b"\x33\x33" + group.packed[12:], source, group, ICMPV6, body)


def advertisement(mac: bytes, owned: IPv6Address, asker: Packet) -> bytes:
    """The answer that an IPv6 address is here: solicited, overriding."""
    source = asker.source
    assert isinstance(source, IPv6Address)
    to = source if int(source) else IPv6Address("ff02::1")
    body = bytes([NEIGHBOUR_ADVERTISEMENT, 0, 0, 0]) + b"\x60\0\0\0" + owned.packed + b"\2\1" + mac
    return ip_frame(mac, asker.source_mac, owned, to, ICMPV6, body)


def tcp_segment(
    source_port: int, target_port: int, flags: Flag, *, sequence: int = 0, answers: int = 0
) -> bytes:
    """A TCP header without options and data; `ip_frame` puts in the checksum."""
    return struct.pack(
        "!HHIIBBHHH", source_port, target_port, sequence, answers, 5 << 4, flags, 64240, 0, 0
    )


def udp_datagram(source_port: int, target_port: int, data: bytes = b"?") -> bytes:
    """A UDP datagram; `ip_frame` puts in the checksum."""
    return struct.pack("!HHHH", source_port, target_port, 8 + len(data), 0) + data


def echo_request(family: int) -> bytes:
    """An ICMP echo request of IP version 4 or 6; `ip_frame` puts in the checksum."""
    return bytes([ECHO_REQUEST[family], 0, 0, 0]) + b"\0\1\0\1ping"


_CHECKSUM_AT = {TCP: 16, UDP: 6, ICMP: 2, ICMPV6: 2}


def ip_frame(
    mac: bytes, to: bytes, source: Address, target: Address, protocol: int, data: bytes
) -> bytes:
    """A whole frame around a datagram of either family, checksums included."""
    at = _CHECKSUM_AT[protocol]
    pseudo = b""
    if protocol != ICMP:
        pseudo = source.packed + target.packed + struct.pack("!II", len(data), protocol)
    data = data[:at] + struct.pack("!H", checksum(pseudo + data)) + data[at + 2 :]
    if source.version == 4:
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(data), 0, 0, _HOPS, protocol, 0)
        head += source.packed + target.packed
        head = head[:10] + struct.pack("!H", checksum(head)) + head[12:]
        kind = ETHERTYPE_IPV4
    else:
        head = struct.pack("!IHBB", 6 << 28, len(data), protocol, _HOPS)
        head += source.packed + target.packed
        kind = ETHERTYPE_IPV6
    return to + mac + struct.pack("!H", kind) + head + data


def checksum(data: bytes) -> int:
    """The Internet checksum: the complement of the one's complement sum of 16-bit words."""
    if len(data) % 2:
        data += b"\0"
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
