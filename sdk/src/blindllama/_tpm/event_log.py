"""The firmware's event log: what was extended, by its own account.

The log is unsigned and is not trusted. It explains a mismatch and never decides one: Azure Trusted
Launch serves an empty log, and verification is the same with it and without it (ATTACKS, B9).

Source: TCG PC Client Platform Firmware Profile 1.06, sections 10.2 (TCG_PCR_EVENT,
TCG_PCR_EVENT2) and 10.4.5.1 (Specification ID event). All integers are little-endian.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from blindllama._tpm.reader import Reader
from blindllama._tpm.structures import HashAlgorithm
from blindllama.errors import Code
from blindllama.pcr import PCR_COUNT, ZERO, replay

__all__ = ["EV_NO_ACTION", "Event", "is_digest_of_data", "parse_event_log", "replay_log"]

EV_NO_ACTION: Final = 0x00000003
"""An entry that informs and was extended nowhere."""

_STEP = 9
_SIGNATURE: Final = b"Spec ID Event03\x00"
_SHA1_SIZE: Final = 20
_MOST_ALGORITHMS: Final = 16
_MOST_EVENTS: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the log, as far as the SHA-256 bank is concerned."""

    pcr: int
    type: int
    """EV_… number; unsigned and unmeasured, so it may be a lie even where the digest is not."""
    digest: bytes
    """What the SHA-256 bank was extended with, 32 bytes."""
    data: bytes
    """What the digest claims to be about; for many types, not what was hashed."""


def parse_event_log(data: bytes) -> tuple[Event, ...]:
    """Return the entries of a crypto-agile event log, in order; none for an empty log.

    The first entry, which only describes the log, is left out.

    Raises:
        FormatError: `measurement.events` when the log is truncated, is not crypto-agile, or has
            no SHA-256 bank.
    """
    if not data:
        return ()
    reader = Reader(
        data,
        what="event log",
        step=_STEP,
        order="little",
        malformed=Code.MEASUREMENT_EVENTS,
        trailing=Code.MEASUREMENT_EVENTS,
    )
    sizes = _digest_sizes(reader)
    events: list[Event] = []
    while reader.remaining:
        if len(events) == _MOST_EVENTS:
            raise reader.malformed(f"at most {_MOST_EVENTS} events", "more")
        events.append(_event(reader, sizes))
    return tuple(events)


def replay_log(events: Iterable[Event]) -> Mapping[int, bytes]:
    """Return the value that each register would have after these entries; zeros included."""
    digests: dict[int, list[bytes]] = {}
    for event in events:
        if event.type != EV_NO_ACTION:
            digests.setdefault(event.pcr, []).append(event.digest)
    return MappingProxyType(
        {index: replay(digests[index]) if index in digests else ZERO for index in range(PCR_COUNT)}
    )


def is_digest_of_data(event: Event) -> bool:
    """Return True when the entry's digest is the plain SHA-256 of its data."""
    return hashlib.sha256(event.data).digest() == event.digest


def _digest_sizes(reader: Reader) -> Mapping[int, int]:
    """Read the first entry, TCG_PCR_EVENT with TCG_EfiSpecIdEvent, and return its digest sizes."""
    pcr, event_type, _, size = (
        reader.uint(4),
        reader.uint(4),
        reader.take(_SHA1_SIZE),
        reader.uint(4),
    )
    if pcr or event_type != EV_NO_ACTION:
        raise reader.malformed("EV_NO_ACTION for PCR 0 first", f"type {event_type}, PCR {pcr}")
    header = Reader(
        reader.take(size),
        what="first entry of the event log",
        step=_STEP,
        order="little",
        malformed=Code.MEASUREMENT_EVENTS,
        trailing=Code.MEASUREMENT_EVENTS,
    )
    signature = header.take(len(_SIGNATURE))
    if signature != _SIGNATURE:
        raise header.malformed("Spec ID Event03", signature)
    header.take(8)  # platformClass, specification version and errata, uintnSize
    count = header.uint(4)
    if not 0 < count <= _MOST_ALGORITHMS:
        raise header.malformed(f"1 to {_MOST_ALGORITHMS} algorithms", count)
    sizes = {header.uint(2): header.uint(2) for _ in range(count)}
    header.sized(size_field_bytes=1)  # vendorInfo
    header.end()
    if sizes.get(HashAlgorithm.SHA256) != 32 or len(sizes) != count:
        raise header.malformed("a SHA-256 bank, each bank once", sorted(sizes))
    return MappingProxyType(sizes)


def _event(reader: Reader, sizes: Mapping[int, int]) -> Event:
    """Read one TCG_PCR_EVENT2."""
    pcr, event_type, count = reader.uint(4), reader.uint(4), reader.uint(4)
    if pcr >= PCR_COUNT and event_type != EV_NO_ACTION:
        raise reader.malformed(f"a PCR below {PCR_COUNT}", pcr)
    if count != len(sizes):
        raise reader.malformed(f"{len(sizes)} digests", count)
    digests: dict[int, bytes] = {}
    for _ in range(count):
        algorithm = reader.uint(2)
        if algorithm not in sizes:
            raise reader.malformed("an algorithm of the first entry", f"0x{algorithm:04x}")
        digests[algorithm] = reader.take(sizes[algorithm])
    if HashAlgorithm.SHA256 not in digests:
        raise reader.malformed("a SHA-256 digest", sorted(digests))
    return Event(
        pcr=pcr,
        type=event_type,
        digest=digests[HashAlgorithm.SHA256],
        data=reader.sized(size_field_bytes=4),
    )
