from __future__ import annotations

import contextlib
import struct
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama.pcr import replay
from os_image.predict.event_log import EventLogError, EventType, parse_event_log

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.unit.os_image.predict.conftest import RecordedBoot


def test_the_replay_of_a_real_log_gives_the_registers_of_that_boot(recorded: RecordedBoot) -> None:
    assert set(recorded.events) == {0, 1, 2, 3, 4, 5, 6, 7, 9, 11}
    for index, events in recorded.events.items():
        assert replay(event.digest for event in events) == recorded.pcrs[index]


def test_registers_without_events_are_zero(recorded: RecordedBoot) -> None:
    # PCR 10 is the kernel's own, extended after the firmware's log has ended.
    for index in (8, 12, 13, 14, 15):
        assert recorded.pcrs[index] == bytes(32)


def test_an_event_that_extends_nothing_is_left_out(recorded: RecordedBoot) -> None:
    no_action = struct.pack("<IIIH32sI", 0, EventType.NO_ACTION, 1, 0x000B, b"\xff" * 32, 0)
    assert parse_event_log(recorded.event_log + no_action) == parse_event_log(recorded.event_log)


@pytest.mark.parametrize(
    ("name", "mutate"),
    [
        ("empty", lambda log: log[:0]),
        ("cut inside the first entry", lambda log: log[:20]),
        ("cut inside the last entry", lambda log: log[:-1]),
        ("another first entry", lambda log: log.replace(b"Spec ID Event03", b"Spec ID Event02")),
        ("a sha1 bank", lambda log: log.replace(b"\x0b\x00\x20\x00", b"\x04\x00\x14\x00", 1)),
        ("two digests", lambda log: log + struct.pack("<IIIH32sI", 0, 4, 2, 0x000B, b"", 0)),
        ("a sha384 digest", lambda log: log + struct.pack("<IIIH32sI", 0, 4, 1, 0x000C, b"", 0)),
        ("huge data", lambda log: log + struct.pack("<IIIH32sI", 0, 4, 1, 0xB, b"", 0xFFFFFFFF)),
    ],
)
def test_a_log_of_another_form_is_refused(
    recorded: RecordedBoot, name: str, mutate: Callable[[bytes], bytes]
) -> None:
    with pytest.raises(EventLogError) as caught:
        parse_event_log(mutate(recorded.event_log))
    assert caught.value.code == "predict.event_log"


@given(st.data())
def test_no_mutation_raises_anything_else(recorded: RecordedBoot, data: st.DataObject) -> None:
    log = bytearray(recorded.event_log)
    for _ in range(data.draw(st.integers(1, 4))):
        log[data.draw(st.integers(0, len(log) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(EventLogError):
        parse_event_log(bytes(log[: data.draw(st.integers(0, len(log)))]))
