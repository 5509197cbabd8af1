"""Why a register differs: with a log that is true, with one that is not, and without any."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from blindllama._wording import part_name, rank, text_difference
from blindllama.evidence import AppEvent
from blindllama.explain import (
    Explanation,
    KnownRelease,
    Machine,
    explain_register,
    explain_registers,
)
from blindllama.measurements import Component, ExpectedEvent, ExpectedPcrs
from blindllama.pcr import ZERO, replay
from tests.simulators.booted_guest import BOOT, event_log, expected_pcrs, sha256

EXPECTED = expected_pcrs()
Events = tuple[tuple[int, bytes, str], ...]


def explain_boot(events: Events, *, expected: ExpectedPcrs = EXPECTED) -> Explanation:
    """The explanation when register 4 was extended like this, and the log says so."""
    machine = Machine(
        values={4: replay(sha256(data) for _, data, _ in events)},
        event_log=event_log({**BOOT, 4: events}),
        app_events=(),
    )
    return explain_register(4, machine, expected=expected)


def event(data: bytes, component: Component, what: str = "", text: str = "") -> ExpectedEvent:
    return ExpectedEvent(
        digest=sha256(data),
        what=what or component.value,
        source="tests",
        component=component,
        text=text or None,
    )


def release(**registers: tuple[ExpectedEvent, ...]) -> ExpectedPcrs:
    """A prediction of registers given as `pcr15=…`."""
    events = {int(name.removeprefix("pcr")): found for name, found in registers.items()}
    return replace(
        EXPECTED,
        events=MappingProxyType(events),
        values=MappingProxyType(
            {pcr: replay(one.digest for one in found) for pcr, found in events.items()}
        ),
    )


SEAL = event(b"seal", Component.SEAL)
NINE = release(
    pcr9=(
        event(b"root=9 ro", Component.COMMAND_LINE, text="roothash=99 ro"),
        event(b"initrd 9", Component.INITRD),
    ),
    pcr15=(event(b"app 9", Component.APP_DISK, text='{"root_hash":"99","salt":"00"}'), SEAL),
)
SEVEN = release(
    pcr9=(
        event(b"root=7 ro", Component.COMMAND_LINE, text="roothash=77 ro"),
        event(b"initrd 7", Component.INITRD),
    ),
    pcr15=(event(b"app 7", Component.APP_DISK, text='{"root_hash":"77","salt":"00"}'), SEAL),
)
KNOWN = (KnownRelease(name="release 7", expected=SEVEN),)


def search(pcr: int, *extends: bytes, known: tuple[KnownRelease, ...] = KNOWN) -> Explanation:
    """The explanation of a machine that gives no account, as on Azure."""
    machine = Machine(values={pcr: replay(extends)}, event_log=b"", app_events=())
    return explain_register(pcr, machine, expected=NINE, asked="release 9", known=known)


class TestByAccount:
    def test_names_the_first_event_that_differs(self) -> None:
        evil = (0x80000003, b"evil", "")
        why = explain_boot((*BOOT[4][:2], evil, BOOT[4][3]))
        assert why.found
        assert why.sentence == "Authenticode of the UKI is not that of the release"
        assert why.raw[2].startswith("event 3, Authenticode of the UKI, from tests")
        assert f"got {sha256(b'evil').hex()}" in why.raw[4]
        assert "which the guest calls EV_EFI_BOOT_SERVICES_APPLICATION" in why.raw[4]

    def test_names_a_missing_event(self) -> None:
        why = explain_boot(BOOT[4][:3])
        assert why.sentence == "Authenticode of the kernel was not measured"
        assert "event 4 is missing" in why.raw[2]

    def test_names_an_event_too_many(self) -> None:
        why = explain_boot((*BOOT[4], (0xABC, b"more", "")))
        assert why.sentence.endswith("which the guest calls type 0xabc")
        assert "event 5 is one too many" in why.raw[2]

    def test_names_nothing_extended(self) -> None:
        assert explain_boot(()).sentence == "boot attempt was not measured"

    def test_tells_which_fields_of_the_application_disk_differ(self) -> None:
        other = AppEvent(pcr=15, name="app-disk", data=b'{"root_hash":"66","salt":"00"}')
        machine = Machine(
            values={15: replay([sha256(other.data)])}, event_log=event_log(), app_events=(other,)
        )
        why = explain_register(15, machine, expected=NINE, asked="release 9", known=KNOWN)
        assert why.component == Component.APP_DISK
        assert why.sentence == (
            "the application disk (the model and its server) is not that of release 9 "
            "(root_hash: 66 in place of 99)"
        )

    def test_tells_whose_part_it_is_instead(self) -> None:
        events = ((0xD, b"root=9 ro", ""), (0xD, b"initrd 7", ""))
        machine = Machine(
            values={9: replay(sha256(data) for _, data, _ in events)},
            event_log=event_log({9: events}),
            app_events=(),
        )
        why = explain_register(9, machine, expected=NINE, asked="release 9", known=KNOWN)
        assert why.sentence == (
            "the initial RAM disk (initrd) is not that of release 9; it is that of release 7"
        )


class TestSearch:
    def test_another_release(self) -> None:
        why = search(15, *(one.digest for one in SEVEN.events[15]))
        assert why.sentence == "it is that of release 7, you asked for release 9"
        assert why.component == Component.APP_DISK

    def test_another_release_in_several_parts(self) -> None:
        why = search(9, *(one.digest for one in SEVEN.events[9]))
        assert why.sentence == "it is that of release 7, you asked for release 9"
        assert why.component is None

    def test_a_single_part_of_another_release(self) -> None:
        why = search(9, sha256(b"root=7 ro"), sha256(b"initrd 9"))
        assert why.sentence == (
            "the kernel's command line, which names the root file system is that of release 7, "
            "everything else in it that of release 9 (roothash: 77 in place of 99)"
        )
        assert why.raw[2].startswith("command-line: ")

    def test_the_application_was_not_sealed(self) -> None:
        why = search(15, sha256(b"app 9"))
        assert why.component == Component.SEAL
        assert why.sentence.endswith("was not measured, nor anything after it")

    def test_a_part_was_left_out(self) -> None:
        why = search(15, sha256(b"seal"))
        assert why.sentence == ("the application disk (the model and its server) was not measured")

    def test_a_part_was_measured_twice(self) -> None:
        why = search(15, sha256(b"app 9"), sha256(b"seal"), sha256(b"seal"))
        assert why.sentence.endswith("was measured twice")

    @pytest.mark.parametrize(("known", "told"), [(KNOWN, "1 known releases"), ((), "no account")])
    def test_what_is_not_found_stays_unexplained(
        self, known: tuple[KnownRelease, ...], told: str
    ) -> None:
        why = search(15, sha256(b"nobody's"), known=known)
        assert not why.found
        assert why.sentence.startswith("no explanation: the machine gives no account of it")
        assert told in why.sentence
        got = replay([sha256(b"nobody's")])
        assert why.raw == (f"expected {NINE.values[15].hex()}", f"got {got.hex()}")


def test_b9_a_log_that_is_not_true_explains_nothing() -> None:
    machine = Machine(values={4: b"\1" * 32}, event_log=event_log(), app_events=())
    why = explain_register(4, machine, expected=EXPECTED)
    assert why.sentence == "no explanation: the machine's own account does not give this value"


def test_b9_a_log_that_cannot_be_read_explains_nothing() -> None:
    machine = Machine(values={4: b"\1" * 32}, event_log=b"x", app_events=())
    why = explain_register(4, machine, expected=EXPECTED)
    assert why.sentence.startswith("no explanation: the machine's log cannot be read (event log")


def test_a_release_without_events_explains_nothing() -> None:
    why = explain_boot(BOOT[4][:1], expected=replace(EXPECTED, events=MappingProxyType({})))
    assert "does not say what its value is made of" in why.sentence


def test_where_nothing_differs_nothing_is_explained() -> None:
    assert explain_boot(BOOT[4]).sentence == "no explanation: nothing differs"


def test_the_most_telling_register_comes_first() -> None:
    steps, uki = event(b"steps", Component.BOOT_STEPS), event(b"uki", Component.BOOT_IMAGE)
    expected = release(pcr4=(uki,), pcr5=(steps,), pcr9=NINE.events[9], pcr11=(steps,))
    machine = Machine(
        values={4: ZERO, 5: ZERO, 9: ZERO, 11: b"\1" * 32}, event_log=b"", app_events=()
    )
    explained = explain_registers((4, 5, 9, 11), machine, expected=expected)
    assert [(one.pcr, one.found) for one in explained] == [
        (9, True),
        (4, True),
        (5, True),
        (11, False),
    ]


class TestWording:
    def test_every_part_has_a_name(self) -> None:
        for component in Component:
            assert part_name(event(b"", component, what="raw")) != "raw"

    def test_a_part_of_a_newer_release_has_its_own_words(self) -> None:
        newer = replace(event(b"", Component.KERNEL, what="moon phase"), component="moon")
        assert part_name(newer) == "moon phase"
        assert rank("moon") == rank(None) == 0

    @pytest.mark.parametrize(
        ("expected", "got", "told"),
        [
            (None, "a", None),
            ("a", None, None),
            ("a", "a", None),
            ("a=1 b", "a=2 b", "a: 2 in place of 1"),
            ("a b", "a", "b: nothing in place of present"),
            ("a", "a b", "b: present in place of nothing"),
            ("a b", "b a", "the same words in another order"),
            ('{"a":1}', '{"a":2}', "a: 2 in place of 1"),
            ("a=1", "a=\x1b[2J", "a: �[2J in place of 1"),
            ("[" * 100_000, "x=1", None),
        ],
    )
    def test_what_differs_in_a_text(
        self, expected: str | None, got: str | None, told: str | None
    ) -> None:
        found = text_difference(expected, got)
        if told is not None:
            assert found == told
        elif expected is None or got is None or expected == got:
            assert found is None
        else:
            assert found is not None
            assert len(found) < 1000
            assert found.isprintable()
