from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

from blindllama.evidence import AppEvent
from blindllama.explain import explain_mismatch
from blindllama.measurements import ExpectedPcrs
from blindllama.pcr import ZERO, replay
from tests.simulators.booted_guest import BOOT, event_log, expected_pcrs, sha256

EXPECTED = expected_pcrs()
Events = tuple[tuple[int, bytes, str], ...]


def explain_boot(events: Events, *, expected: ExpectedPcrs = EXPECTED) -> str:
    """The explanation when register 4 was extended like this, and the log says so."""
    quoted = replay(sha256(data) for _, data, _ in events)
    log = event_log({**BOOT, 4: events})
    return explain_mismatch(4, quoted=quoted, expected=expected, event_log=log, app_events=())


def test_names_the_first_event_that_differs() -> None:
    evil = (0x80000003, b"evil", "")
    why = explain_boot((*BOOT[4][:2], evil, BOOT[4][3]))
    assert "event 3 should be Authenticode of the UKI" in why
    assert sha256(b"evil").hex()[:16] in why
    assert "which it calls EV_EFI_BOOT_SERVICES_APPLICATION" in why


def test_names_a_missing_event() -> None:
    assert "event 4 is missing: Authenticode of the kernel" in explain_boot(BOOT[4][:3])


def test_names_an_event_too_many() -> None:
    why = explain_boot((*BOOT[4], (0xABC, b"more", "")))
    assert "event 5 is one too many" in why
    assert "type 0xabc" in why


def test_names_nothing_extended() -> None:
    assert "event 1 is missing: boot attempt" in explain_boot(())


def test_explains_the_application_disk() -> None:
    other = AppEvent(pcr=15, name="app-disk", data=b"another disk")
    quoted = replay([sha256(other.data)])
    why = explain_mismatch(
        15, quoted=quoted, expected=EXPECTED, event_log=event_log(), app_events=(other,)
    )
    assert "event 1 should be app-disk" in why


def test_b9_a_log_that_does_not_replay_explains_nothing() -> None:
    why = explain_mismatch(4, quoted=ZERO, expected=EXPECTED, event_log=event_log(), app_events=())
    assert "do not replay" in why


def test_b9_a_log_that_cannot_be_read_explains_nothing() -> None:
    why = explain_mismatch(4, quoted=ZERO, expected=EXPECTED, event_log=b"x", app_events=())
    assert why.startswith("no explanation: event log")


def test_a_release_without_events_explains_nothing() -> None:
    expected = replace(EXPECTED, events=MappingProxyType({}))
    assert "names no events" in explain_boot(BOOT[4][:1], expected=expected)


def test_a_release_whose_events_do_not_make_its_value() -> None:
    assert "do not replay to its own value" in explain_boot(BOOT[4])
