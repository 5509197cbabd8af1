from __future__ import annotations

from typing import Any

import pytest
from pydantic import JsonValue, ValidationError

from blindllama._strict_json import parse_model
from blindllama.errors import Code, FormatError, UsageError
from blindllama.measurements import (
    Component,
    ExpectedPcrs,
    MeasurementsPredicate,
    PlatformMeasurements,
    PlatformName,
    expected_pcrs,
)
from blindllama.pcr import PcrBank

A = "aa" * 32
B = "bb" * 32


def wire(**changes: object) -> dict[str, Any]:
    document: dict[str, Any] = {
        "version": 1,
        "sequence": 3,
        "debug": False,
        "layout": {"sha256": A},
        "provenance": {"engine": {"sha256": B}},
        "platforms": {
            "qemu-swtpm": {
                "bank": "sha256",
                "pcrs": {"10": B, "4": A},
                "machine": {"cpus": 2, "memory_mib": 2048, "firmware_sha256": A, "qemu": "7.2"},
                "events": {"4": [{"digest": A, "what": "separator", "source": "PFP 2.3.4"}]},
            }
        },
    }
    return document | changes


def platform(**changes: object) -> dict[str, Any]:
    honest: dict[str, Any] = wire()["platforms"]["qemu-swtpm"]
    return honest | changes


def test_the_wire_form_becomes_values_in_the_order_of_the_registers() -> None:
    predicate = parse_model(wire(), MeasurementsPredicate, step=2)
    expected = expected_pcrs(PlatformName.QEMU_SWTPM, predicate.platforms["qemu-swtpm"])
    assert list(expected.values.items()) == [(4, b"\xaa" * 32), (10, b"\xbb" * 32)]
    assert expected.bank is PcrBank.SHA256
    assert expected.events[4][0].digest == b"\xaa" * 32
    assert expected.events[4][0].what == "separator"


def test_an_event_may_name_its_part_and_its_text() -> None:
    event = {"digest": A, "what": "command line", "source": "s"}
    told = event | {"component": Component.COMMAND_LINE.value, "text": "ro quiet"}
    newer = event | {"component": "a-part-of-tomorrow"}
    document = platform(events={"4": [event, told, newer]})
    events = expected_pcrs(
        PlatformName.QEMU_SWTPM, parse_model(document, PlatformMeasurements, step=2)
    ).events[4]
    assert [(one.component, one.text) for one in events] == [
        (None, None),
        (Component.COMMAND_LINE, "ro quiet"),
        ("a-part-of-tomorrow", None),
    ]


@pytest.mark.parametrize("component", ["", "Kernel", "a b", "-", 1, "x" * 41])
def test_a_part_is_a_short_name(component: object) -> None:
    event = {"digest": A, "what": "w", "source": "s", "component": component}
    with pytest.raises(FormatError) as caught:
        parse_model(platform(events={"4": [event]}), PlatformMeasurements, step=2)
    assert caught.value.code is Code.FORMAT_SCHEMA


def test_parts_are_named_as_the_wire_allows() -> None:
    """The names are in signed statements: adding is free, changing is not."""
    assert [component.value for component in Component] == [
        "firmware",
        "boot-options",
        "secure-boot",
        "partitions",
        "boot-image",
        "kernel",
        "command-line",
        "initrd",
        "os-release",
        "app-disk",
        "seal",
        "boot-steps",
    ]


def test_machine_and_events_are_optional() -> None:
    bare: JsonValue = {"bank": "sha256", "pcrs": {"4": A}}
    expected = expected_pcrs(
        PlatformName.AZURE_TRUSTED_LAUNCH, parse_model(bare, PlatformMeasurements, step=2)
    )
    assert expected.events == {}


@pytest.mark.parametrize(
    "spoiled",
    [
        wire(version=2),
        wire(version="1"),
        wire(sequence=0),
        wire(sequence=1.0),
        wire(sequence=True),
        wire(debug=0),
        wire(debug="false"),
        wire(layout={"sha256": A.upper()}),
        wire(layout={"sha256": A[:-2]}),
        wire(layout={"sha256": A + "\n"}),
        wire(layout={"sha256": A, "sha512": A}),
        wire(provenance={}),
        wire(platforms={}),
        wire(extra=1),
        wire(platforms={"qemu-swtpm": platform(bank="sha1")}),
        wire(platforms={"qemu-swtpm": platform(pcrs={})}),
        wire(platforms={"qemu-swtpm": platform(pcrs={"04": A})}),
        wire(platforms={"qemu-swtpm": platform(pcrs={"24": A})}),
        wire(platforms={"qemu-swtpm": platform(pcrs={"4": A + A})}),
        wire(platforms={"qemu-swtpm": platform(events={"x": []})}),
        wire(platforms={"qemu-swtpm": platform(machine={"cpus": 2})}),
        wire(platforms={"qemu-swtpm": platform(other=None)}),
    ],
)
def test_the_wire_form_is_strict(spoiled: dict[str, Any]) -> None:
    with pytest.raises(FormatError) as caught:
        parse_model(spoiled, MeasurementsPredicate, step=2)
    assert caught.value.code is Code.FORMAT_SCHEMA
    assert caught.value.step == 2


def test_the_wire_form_does_not_change_once_made() -> None:
    predicate = parse_model(wire(), MeasurementsPredicate, step=2)
    with pytest.raises(ValidationError):
        predicate.sequence = 4  # type: ignore[misc] # the type says so too


@pytest.mark.parametrize("values", [{}, {4: bytes(31)}, {24: bytes(32)}, {-1: bytes(32)}])
def test_an_expectation_that_accepts_everything_cannot_be_made(values: dict[int, bytes]) -> None:
    with pytest.raises(UsageError):
        ExpectedPcrs(
            platform=PlatformName.QEMU_SWTPM, bank=PcrBank.SHA256, values=values, events={}
        )
