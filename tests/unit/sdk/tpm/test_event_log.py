from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from blindllama._tpm.event_log import (
    EV_NO_ACTION,
    is_digest_of_data,
    parse_event_log,
    replay_log,
)
from blindllama.errors import Code, FormatError
from blindllama.pcr import ZERO
from tests.simulators.booted_guest import BOOT, event_log, expected_pcrs

LOG = event_log()
HEADER_END = 32 + 16 + 8 + 4 + 4 + 1


def refused(log: bytes) -> None:
    with pytest.raises(FormatError) as caught:
        parse_event_log(log)
    assert caught.value.code is Code.MEASUREMENT_EVENTS


def u32(value: int) -> bytes:
    return value.to_bytes(4, "little")


def header(body: bytes, *, pcr: int = 0, kind: int = EV_NO_ACTION) -> bytes:
    return u32(pcr) + u32(kind) + bytes(20) + u32(len(body)) + body


def spec_id(
    *, signature: bytes = b"Spec ID Event03\0", algorithms: bytes, vendor: bytes = b"\0"
) -> bytes:
    return header(signature + bytes(8) + algorithms + vendor)


def test_an_empty_log_has_no_events() -> None:
    assert parse_event_log(b"") == ()


def test_reads_the_log_and_replays_it() -> None:
    events = parse_event_log(LOG)
    assert [event.pcr for event in events] == [pcr for pcr in BOOT for _ in BOOT[pcr]]
    assert all(is_digest_of_data(event) for event in events)
    replayed = replay_log(events)
    assert all(replayed[pcr] == value for pcr, value in expected_pcrs().values.items() if pcr != 15)
    assert replayed[15] == ZERO


def test_reads_the_log_of_a_real_firmware(checkout: Path) -> None:
    # What OVMF and a guest's kernel wrote in a real boot, beside the registers they left.
    console = (checkout / "tests/golden/boot/probe.console").read_text()
    log = base64.b64decode("".join(re.findall(r"^log (\S+)", console, re.MULTILINE)))
    registers = dict(re.findall(r"^pcr (\d+) ([0-9a-f]{64})", console, re.MULTILINE))
    events = parse_event_log(log)
    replayed = replay_log(events)
    assert events
    for pcr in (0, 1, 2, 3, 4, 5, 6, 7):
        assert replayed[pcr].hex() == registers[str(pcr)]


def test_b9_no_action_is_not_counted() -> None:
    informs = u32(0) + u32(EV_NO_ACTION) + u32(1) + b"\x0b\0" + bytes(32) + u32(0)
    assert replay_log(parse_event_log(LOG + informs)) == replay_log(parse_event_log(LOG))


def test_b9_an_event_may_inform_about_no_register() -> None:
    informs = u32(0xFFFFFFFF) + u32(EV_NO_ACTION) + u32(1) + b"\x0b\0" + bytes(32) + u32(0)
    assert parse_event_log(LOG + informs)[-1].pcr == 0xFFFFFFFF


def test_b9_a_digest_that_is_not_of_its_data() -> None:
    lie = u32(4) + u32(0xD) + u32(1) + b"\x0b\0" + bytes(32) + u32(3) + b"lie"
    assert not is_digest_of_data(parse_event_log(LOG + lie)[-1])


@pytest.mark.parametrize("cut", [1, 7, 40, len(LOG) - HEADER_END - 1])
def test_b9_truncated(cut: int) -> None:
    refused(LOG[:-cut])


def test_every_truncation_of_the_header_is_refused() -> None:
    for size in range(1, HEADER_END):
        refused(LOG[:size])


def test_several_banks_are_read_in_any_order() -> None:
    algorithms = u32(2) + b"\x04\0\x14\0" + b"\x0b\0\x20\0"
    digests = b"\x0b\0" + b"\x22" * 32 + b"\x04\0" + b"\x11" * 20
    event = u32(7) + u32(4) + u32(2) + digests + u32(4) + bytes(4)
    (parsed,) = parse_event_log(spec_id(algorithms=algorithms) + event)
    assert (parsed.pcr, parsed.type, parsed.digest) == (7, 4, b"\x22" * 32)


@pytest.mark.parametrize(
    "log",
    [
        pytest.param(header(b"", pcr=1), id="first entry of another register"),
        pytest.param(header(b"", kind=8), id="first entry of another type"),
        pytest.param(
            spec_id(signature=b"Spec ID Event02\0", algorithms=u32(1) + b"\x0b\0\x20\0"),
            id="older form",
        ),
        pytest.param(spec_id(algorithms=u32(0)), id="no bank"),
        pytest.param(spec_id(algorithms=u32(17) + b"\x0b\0\x20\0" * 17), id="too many banks"),
        pytest.param(spec_id(algorithms=u32(1) + b"\x04\0\x14\0"), id="no SHA-256 bank"),
        pytest.param(spec_id(algorithms=u32(1) + b"\x0b\0\x14\0"), id="SHA-256 of 20 bytes"),
        pytest.param(spec_id(algorithms=u32(2) + b"\x0b\0\x20\0" * 2), id="a bank twice"),
        pytest.param(spec_id(algorithms=u32(1) + b"\x0b\0\x20\0", vendor=b"\0x"), id="more header"),
        pytest.param(LOG + u32(24) + u32(4) + u32(1) + b"\x0b\0" + bytes(36), id="PCR 24"),
        pytest.param(LOG + u32(4) + u32(4) + u32(2) + b"\x0b\0" + bytes(36), id="two digests"),
        pytest.param(LOG + u32(4) + u32(4) + u32(1) + b"\x0c\0" + bytes(52), id="other bank"),
        pytest.param(
            spec_id(algorithms=u32(2) + b"\x04\0\x14\0" + b"\x0b\0\x20\0")
            + (u32(7) + u32(4) + u32(2) + (b"\x04\0" + bytes(20)) * 2 + u32(0)),
            id="SHA-1 twice",
        ),
        pytest.param(
            LOG + (u32(0) + u32(4) + u32(1) + b"\x0b\0" + bytes(32) + u32(0)) * 4097,
            id="too many events",
        ),
    ],
)
def test_refuses(log: bytes) -> None:
    refused(log)


def test_golden_evidence_carries_this_log(checkout: Path) -> None:
    document = json.loads((checkout / "tests/golden/evidence-v1.json").read_bytes())
    events = parse_event_log(base64.b64decode(document["event_log"]))
    replayed = replay_log(events)
    for pcr in BOOT:
        assert replayed[pcr].hex() == document["pcrs"]["sha256"][pcr]
