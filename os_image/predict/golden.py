"""Golden values: the few digests of a machine profile that no file tells, taken from a probe boot.

They are two: the PEI volume after its modules wrote into it (PCR 0) and the boot manager's
variables (PCR 1). Everything else in these registers is computed, so that a probe boot on another
firmware than the locked one is noticed here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from blindllama.pcr import replay
from os_image.predict import pcr00, pcr01
from os_image.predict.bank import PredictionError
from os_image.predict.event_log import EventType, LoggedEvent, parse_event_log
from os_image.predict.firmware import parse_firmware

if TYPE_CHECKING:
    from collections.abc import Mapping

    from os_image.predict.bank import Event

_PCR0_TYPES = (
    EventType.S_CRTM_VERSION,
    EventType.EFI_PLATFORM_FIRMWARE_BLOB,
    EventType.EFI_PLATFORM_FIRMWARE_BLOB,
    EventType.SEPARATOR,
)
_VARIABLE = struct.Struct("<16sQQ")
"""Head of a UEFI_VARIABLE_DATA: GUID, characters of the name, bytes of the content."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenPcrs:
    """What a probe boot tells about PCR 0 and PCR 1 of a machine profile."""

    pei_volume: bytes
    """Digest of the PEI volume as it was measured, 32 bytes."""
    boot_variables: tuple[tuple[str, bytes], ...]
    """Name and digest of each boot variable's content, in the order of the measurements."""


def golden_from_boot(
    *, firmware_code: bytes, pcrs: Mapping[int, bytes], event_log: bytes
) -> GoldenPcrs:
    """The golden values of the machine on which this was read.

    Args:
        firmware_code: The OVMF code image with which it was started.
        pcrs: Values of its registers, at least of 0 and 1.
        event_log: Its event log.

    Raises:
        EventLogError: The log is malformed.
        PredictionError: The log has events of another form, or its replay with the parts that are
            computed from the firmware does not give the registers' values.
    """
    logged = parse_event_log(event_log)
    firmware_events = [event for event in logged if event.pcr == pcr00.INDEX]
    types = tuple(event.type for event in firmware_events)
    if types != _PCR0_TYPES:
        raise PredictionError(
            f"events of PCR 0: expected types {[hex(kind) for kind in _PCR0_TYPES]}, "
            f"got {[hex(kind) for kind in types]}"
        )
    golden = GoldenPcrs(
        pei_volume=firmware_events[1].digest,
        boot_variables=tuple(
            (_variable_name(event), event.digest)
            for event in logged
            if event.pcr == pcr01.INDEX and event.type == EventType.EFI_VARIABLE_BOOT
        ),
    )
    firmware = parse_firmware(firmware_code)
    _check(pcr00.INDEX, pcr00.events(firmware, golden.pei_volume), pcrs)
    _check(pcr01.INDEX, pcr01.events(golden.boot_variables), pcrs)
    return golden


def _check(index: int, events: tuple[Event, ...], pcrs: Mapping[int, bytes]) -> None:
    expected, got = replay(event.digest for event in events), pcrs[index]
    if got != expected:
        raise PredictionError(
            f"PCR {index} of the probe boot: expected {expected.hex()} from its event log and the "
            f"firmware's files, got {got.hex()}"
        )


def _variable_name(event: LoggedEvent) -> str:
    try:
        _, characters, _ = _VARIABLE.unpack_from(event.data)
        name = event.data[_VARIABLE.size : _VARIABLE.size + 2 * characters].decode("utf-16-le")
    except (struct.error, UnicodeDecodeError) as exc:
        raise PredictionError("event of PCR 1: its variable's name is cut off") from exc
    if not (name.isascii() and name.isalnum()):
        raise PredictionError(f"event of PCR 1: expected a variable's name, got {name!r}")
    return name
