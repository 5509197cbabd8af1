"""The firmware's event log, read strictly: it tells golden values and explains differences.

It never decides anything: what counts is the value of a register, and a log is only believed as
far as its replay gives that value.

Source: TCG PC Client Platform Firmware Profile 1.06, "Event Logging", TCG_PCClientPCREvent,
TCG_EfiSpecIDEvent, TCG_PCR_EVENT2.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from blindllama.pcr import PcrBank
from supply_chain.errors import BuildError

_SHA256 = 0x000B
_DIGEST_SIZE = PcrBank.SHA256.size_bytes
_FIRST_HEADER = struct.Struct("<4xI20xI")
"""Register, TYPE, SHA-1 digest, SIZE of the data: the old form, of the first entry only."""
_SPEC_ID = b"Spec ID Event03\0"
_ALGORITHM_COUNT_OFFSET = 24
_HEADER = struct.Struct("<III")
"""Register, type, number of digests."""
_MAX_DATA = 1 << 20


class EventType(IntEnum):
    """Types of events that a prediction speaks about."""

    NO_ACTION = 0x00000003
    """Informs; extends nothing."""
    SEPARATOR = 0x00000004
    S_CRTM_VERSION = 0x00000008
    EFI_VARIABLE_BOOT = 0x80000002
    EFI_PLATFORM_FIRMWARE_BLOB = 0x80000008


class EventLogError(BuildError):
    """The bytes are no event log of a TPM 2.0 with the sha256 bank alone."""

    code = "predict.event_log"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedEvent:
    """One entry of the log that extended a register."""

    pcr: int
    """The register's index."""
    type: int
    """The event's type, as the firmware numbers it."""
    digest: bytes
    """What was extended, 32 bytes, so the firmware says."""
    data: bytes
    """What the firmware says about it; not always what was hashed."""


def parse_event_log(log: bytes) -> tuple[LoggedEvent, ...]:
    """The entries that extended registers, in order.

    Args:
        log: The kernel's `binary_bios_measurements`.

    Raises:
        EventLogError: It is cut off, of the old form, or of other banks than sha256 alone.
    """
    try:
        offset = _after_first(log)
        found = []
        while offset < len(log):
            event, offset = _entry(log, offset)
            if event.type != EventType.NO_ACTION:
                found.append(event)
    except struct.error as exc:
        raise EventLogError(f"event log of {len(log)} bytes: an entry is cut off") from exc
    return tuple(found)


def _after_first(log: bytes) -> int:
    header: tuple[int, int] = _FIRST_HEADER.unpack_from(log)
    kind, size = header
    data = log[_FIRST_HEADER.size : _FIRST_HEADER.size + size]
    if kind != EventType.NO_ACTION or not data.startswith(_SPEC_ID):
        raise EventLogError(f"event log: expected {_SPEC_ID!r} first, got {data[:16]!r}")
    algorithms = struct.unpack_from("<IHH", data, _ALGORITHM_COUNT_OFFSET)
    if algorithms != (1, _SHA256, _DIGEST_SIZE):
        raise EventLogError(f"event log: expected the sha256 bank alone, got {algorithms}")
    return _FIRST_HEADER.size + size


def _entry(log: bytes, offset: int) -> tuple[LoggedEvent, int]:
    pcr, kind, count = _HEADER.unpack_from(log, offset)
    offset += _HEADER.size
    algorithm, digest = struct.unpack_from(f"<H{_DIGEST_SIZE}s", log, offset)
    if (count, algorithm) != (1, _SHA256):
        raise EventLogError(f"event of PCR {pcr}: expected one sha256 digest, got {count} digests")
    offset += 2 + _DIGEST_SIZE
    (size,) = struct.unpack_from("<I", log, offset)
    offset += 4
    if size > _MAX_DATA or offset + size > len(log):
        raise EventLogError(f"event of PCR {pcr}: {size} bytes of data reach behind the log")
    event = LoggedEvent(pcr=pcr, type=kind, digest=digest, data=log[offset : offset + size])
    return event, offset + size
