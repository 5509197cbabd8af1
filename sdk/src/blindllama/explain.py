"""Why a register differs: the first event that is not the one that the release predicts.

An explanation is for people. It is made of claims (the guest's event log and its own account of
what it extended), and it is only given when these claims replay to the quoted value, because then
the digests are genuine. The descriptions beside them are still only what the guest says.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from blindllama._tpm.event_log import EV_NO_ACTION, Event, parse_event_log
from blindllama.errors import FormatError
from blindllama.evidence import AppEvent
from blindllama.measurements import ExpectedEvent, ExpectedPcrs
from blindllama.pcr import replay

__all__ = ["explain_mismatch"]

_EVENT_TYPES: Final[Mapping[int, str]] = MappingProxyType(
    {
        0x00000004: "EV_SEPARATOR",
        0x00000005: "EV_ACTION",
        0x00000008: "EV_S_CRTM_VERSION",
        0x0000000A: "EV_PLATFORM_CONFIG_FLAGS",
        0x0000000D: "EV_IPL",
        0x80000001: "EV_EFI_VARIABLE_DRIVER_CONFIG",
        0x80000002: "EV_EFI_VARIABLE_BOOT",
        0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
        0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
        0x80000006: "EV_EFI_GPT_EVENT",
        0x80000007: "EV_EFI_ACTION",
        0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
        0x800000E0: "EV_EFI_VARIABLE_AUTHORITY",
    }
)
"""Names of event types that a UKI boot logs (PC Client Platform Firmware Profile, table 27)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extend:
    """One extend that the guest claims, and how it describes it."""

    digest: bytes
    claim: str


def explain_mismatch(
    pcr: int,
    *,
    quoted: bytes,
    expected: ExpectedPcrs,
    event_log: bytes,
    app_events: Sequence[AppEvent],
) -> str:
    """Return one sentence that says where a quoted register leaves the prediction.

    Args:
        pcr: The register that differs.
        quoted: Its genuine value, 32 bytes.
        expected: What the release predicts.
        event_log: The guest's claimed firmware log.
        app_events: The guest's claimed extends after boot.
    """
    try:
        events = parse_event_log(event_log)
    except FormatError as exc:
        return f"no explanation: {exc}"
    claimed = _claimed_extends(pcr, events, app_events)
    if replay(extend.digest for extend in claimed) != quoted:
        return "no explanation: the claimed events do not replay to the quoted value"
    predicted = expected.events.get(pcr, ())
    if not predicted:
        return "no explanation: the release names no events for this register"
    return _first_difference(predicted, claimed)


def _claimed_extends(
    pcr: int, events: Sequence[Event], app_events: Sequence[AppEvent]
) -> tuple[_Extend, ...]:
    booted = (
        _Extend(digest=event.digest, claim=_EVENT_TYPES.get(event.type, f"type 0x{event.type:x}"))
        for event in events
        if event.pcr == pcr and event.type != EV_NO_ACTION
    )
    opened = (
        _Extend(digest=hashlib.sha256(event.data).digest(), claim=event.name)
        for event in app_events
        if event.pcr == pcr
    )
    return (*booted, *opened)


def _first_difference(predicted: Sequence[ExpectedEvent], claimed: Sequence[_Extend]) -> str:
    for number, (wanted, got) in enumerate(zip(predicted, claimed, strict=False), start=1):
        if wanted.digest != got.digest:
            return (
                f"event {number} should be {wanted.what} ({wanted.digest.hex()[:16]}…, "
                f"from {wanted.source}); the guest extended {got.digest.hex()[:16]}…, "
                f"which it calls {got.claim}"
            )
    if len(claimed) < len(predicted):
        missing = predicted[len(claimed)]
        return f"event {len(claimed) + 1} is missing: {missing.what} (from {missing.source})"
    if len(claimed) > len(predicted):
        extra = claimed[len(predicted)]
        return (
            f"event {len(predicted) + 1} is one too many: {extra.digest.hex()[:16]}…, "
            f"which the guest calls {extra.claim}"
        )
    return "no explanation: the release's events do not replay to its own value"
