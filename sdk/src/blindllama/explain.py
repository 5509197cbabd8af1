"""Why a register differs, in words for people, with the raw values under them.

With an event log (the firmware's and the guest's own account of what it extended), the first
events that differ name the part. A log is a claim: it is used only when it replays to the quoted
value, because then its digests are genuine; the descriptions beside them are still the guest's.
Without one, as on Azure, the value is searched for among known releases and among this release
with a single part exchanged. Nothing here decides anything (ATTACKS, B9).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from blindllama._explain_search import Found, KnownRelease, search
from blindllama._tpm.event_log import EV_NO_ACTION, Event, parse_event_log
from blindllama._wording import part_name, rank, text_difference
from blindllama.errors import FormatError
from blindllama.evidence import AppEvent
from blindllama.measurements import ExpectedEvent, ExpectedPcrs
from blindllama.pcr import replay

__all__ = [
    "Explanation",
    "KnownRelease",
    "Machine",
    "explain_register",
    "explain_registers",
    "told_events",
]

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
class Explanation:
    """Why one register differs."""

    pcr: int
    found: bool
    """False when only the difference is known, and nothing about its cause."""
    sentence: str
    component: str | None
    """The part that the sentence is about, where there is one."""
    raw: tuple[str, ...]
    """The values behind the sentence, one line each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What a machine says about itself: the values may be genuine, all else is its claim."""

    values: Mapping[int, bytes]
    event_log: bytes
    app_events: Sequence[AppEvent]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Extend:
    """One extend that the machine claims, and how it describes it."""

    digest: bytes
    claim: str
    text: str | None = None


def explain_registers(
    pcrs: Iterable[int],
    machine: Machine,
    *,
    expected: ExpectedPcrs,
    asked: str = "the release",
    known: Sequence[KnownRelease] = (),
) -> tuple[Explanation, ...]:
    """Return an explanation for each of these registers, the most telling one first."""
    explained = [
        explain_register(pcr, machine, expected=expected, asked=asked, known=known) for pcr in pcrs
    ]
    return tuple(sorted(explained, key=lambda one: (not one.found, rank(one.component), one.pcr)))


def explain_register(
    pcr: int,
    machine: Machine,
    *,
    expected: ExpectedPcrs,
    asked: str = "the release",
    known: Sequence[KnownRelease] = (),
) -> Explanation:
    """Return why a register of a machine differs from what is expected.

    Args:
        pcr: The register that differs.
        machine: Its values and its account of them.
        expected: What the release predicts.
        asked: How the release is called in the sentence.
        known: Other genuine releases, to recognise.
    """
    quoted = machine.values[pcr]
    predicted = expected.events.get(pcr, ())
    if quoted == expected.values[pcr]:
        return _nothing(pcr, "nothing differs", ())
    raw = (f"expected {expected.values[pcr].hex()}", f"got {quoted.hex()}")
    if replay(event.digest for event in predicted) != expected.values[pcr]:
        return _nothing(pcr, f"{asked} does not say what its value is made of", raw)
    claimed, note = _account(pcr, machine)
    found: Found | None
    if claimed is not None:
        found = _by_account(predicted, claimed, asked=asked, known=known, pcr=pcr)
    else:
        found = search(pcr, quoted, expected=expected, asked=asked, known=known)
    if found is None:
        compared = f"; {len(known)} known releases were compared" if known else ""
        return _nothing(pcr, f"{note}{compared}", raw)
    return Explanation(
        pcr=pcr,
        found=True,
        sentence=found.sentence,
        component=found.component,
        raw=(*raw, *found.raw),
    )


def told_events(pcr: int, machine: Machine) -> tuple[ExpectedEvent, ...]:
    """Return the machine's own account of a register; nothing when it is not true."""
    claimed, _ = _account(pcr, machine)
    return tuple(
        ExpectedEvent(
            digest=extend.digest,
            what=f"event {number}, {extend.claim}",
            source="the machine itself",
            text=extend.text,
        )
        for number, extend in enumerate(claimed or (), start=1)
    )


def _nothing(pcr: int, why: str, raw: tuple[str, ...]) -> Explanation:
    return Explanation(
        pcr=pcr, found=False, sentence=f"no explanation: {why}", component=None, raw=raw
    )


def _account(pcr: int, machine: Machine) -> tuple[Sequence[_Extend] | None, str]:
    """Return the machine's own account of a register, if it is true, and else why it is not."""
    try:
        events = parse_event_log(machine.event_log)
    except FormatError as exc:
        return None, f"the machine's log cannot be read ({exc})"
    claimed = _claimed_extends(pcr, events, machine.app_events)
    if replay(extend.digest for extend in claimed) != machine.values[pcr]:
        if claimed:
            return None, "the machine's own account does not give this value"
        return None, "the machine gives no account of it"
    return claimed, ""


def _claimed_extends(
    pcr: int, events: Sequence[Event], app_events: Sequence[AppEvent]
) -> tuple[_Extend, ...]:
    booted = (
        _Extend(digest=event.digest, claim=_EVENT_TYPES.get(event.type, f"type 0x{event.type:x}"))
        for event in events
        if event.pcr == pcr and event.type != EV_NO_ACTION
    )
    opened = (
        _Extend(
            digest=hashlib.sha256(event.data).digest(),
            claim=event.name,
            text=event.data.decode("ascii", errors="replace"),
        )
        for event in app_events
        if event.pcr == pcr
    )
    return (*booted, *opened)


def _by_account(
    predicted: Sequence[ExpectedEvent],
    claimed: Sequence[_Extend],
    *,
    asked: str,
    known: Sequence[KnownRelease],
    pcr: int,
) -> Found:
    """Return the first difference; the values differ, so there is one."""
    pairs = list(zip(predicted, claimed, strict=False))
    for number, (wanted, got) in enumerate(pairs, start=1):
        if wanted.digest != got.digest:
            owner = _owner(pcr, wanted, got.digest, known)
            change = text_difference(wanted.text, got.text)
            return Found(
                component=wanted.component,
                sentence=f"{part_name(wanted)} is not that of {asked}"
                + (f"; it is that of {owner}" if owner else "")
                + (f" ({change})" if change else ""),
                raw=(
                    f"event {number}, {wanted.what}, from {wanted.source}",
                    f"expected {wanted.digest.hex()}",
                    f"got {got.digest.hex()}, which the guest calls {got.claim}",
                ),
            )
    if len(claimed) < len(predicted):
        missing = predicted[len(claimed)]
        return Found(
            component=missing.component,
            sentence=f"{part_name(missing)} was not measured",
            raw=(f"event {len(claimed) + 1} is missing: {missing.what}, {missing.digest.hex()}",),
        )
    extra = claimed[len(predicted)]
    return Found(
        component=None,
        sentence=f"something was measured that {asked} does not have, "
        f"which the guest calls {extra.claim}",
        raw=(f"event {len(predicted) + 1} is one too many: {extra.digest.hex()}",),
    )


def _owner(
    pcr: int, wanted: ExpectedEvent, digest: bytes, known: Sequence[KnownRelease]
) -> str | None:
    """Return the known release whose part of this kind it is."""
    for release in known:
        for event in release.expected.events.get(pcr, ()):
            if (event.what, event.digest) == (wanted.what, digest):
                return release.name
    return None
