from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from blindllama.measurements import Component, MachineProfile, PlatformName, expected_pcrs
from blindllama.pcr import replay
from os_image.predict.bank import PredictionError
from os_image.predict.golden import GoldenPcrs, golden_from_boot
from os_image.predict.predict import (
    compare,
    platform_measurements,
    predict_azure_pcrs,
    predict_pcrs,
)
from tests.unit.os_image.predict.images import (
    disk_with,
    firmware_code,
    make_pe,
    variable_store,
)

if TYPE_CHECKING:
    from pathlib import Path

    from blindllama.measurements import ExpectedPcrs
    from tests.unit.os_image.predict.conftest import RecordedBoot

DESCRIPTOR = b'{"algorithm":"sha256","root_hash":"00"}'
GOLDEN = GoldenPcrs(pei_volume=b"\1" * 32, boot_variables=(("BootOrder", b"\2" * 32),))


@pytest.fixture
def predicted(
    recorded: RecordedBoot, uki_sections: dict[str, bytes], tmp_path: Path
) -> ExpectedPcrs:
    return predict_pcrs(
        uki=make_pe(uki_sections),
        disk=disk_with(tmp_path, recorded.events[5][1].data),
        firmware_code=firmware_code(b"pei", b"dxe"),
        firmware_variables=variable_store(),
        app_descriptor=DESCRIPTOR,
        golden=GOLDEN,
    )


def test_golden_values_of_a_real_boot(ovmf_code: bytes, recorded: RecordedBoot) -> None:
    golden = golden_from_boot(
        firmware_code=ovmf_code, pcrs=recorded.pcrs, event_log=recorded.event_log
    )
    names = [name for name, _ in golden.boot_variables]
    assert names == ["BootOrder", "Boot0001", "Boot0000", "Boot0002"]
    assert golden.pei_volume == recorded.events[0][1].digest


def test_a_probe_on_another_firmware_is_noticed(recorded: RecordedBoot) -> None:
    with pytest.raises(PredictionError, match="PCR 0 of the probe boot") as caught:
        golden_from_boot(
            firmware_code=firmware_code(b"pei", b"other drivers"),
            pcrs=recorded.pcrs,
            event_log=recorded.event_log,
        )
    assert caught.value.code == "predict.unknown_form"


def test_a_log_that_does_not_give_the_register_is_noticed(
    ovmf_code: bytes, recorded: RecordedBoot
) -> None:
    with pytest.raises(PredictionError, match="PCR 1 of the probe boot") as caught:
        golden_from_boot(
            firmware_code=ovmf_code,
            pcrs=recorded.pcrs | {1: bytes(32)},
            event_log=recorded.event_log,
        )
    assert caught.value.code == "predict.unknown_form"


def test_a_firmware_with_other_events_is_noticed(ovmf_code: bytes, recorded: RecordedBoot) -> None:
    # The type of the first event of PCR 0, behind the first entry of 65 bytes.
    log = bytearray(recorded.event_log)
    assert log[69] == 0x08
    log[69] = 0x07
    with pytest.raises(PredictionError, match="events of PCR 0") as caught:
        golden_from_boot(firmware_code=ovmf_code, pcrs=recorded.pcrs, event_log=bytes(log))
    assert caught.value.code == "predict.unknown_form"


def test_the_registers_of_each_platform(
    predicted: ExpectedPcrs, uki_sections: dict[str, bytes]
) -> None:
    azure = predict_azure_pcrs(uki=make_pe(uki_sections), app_descriptor=DESCRIPTOR)
    assert predicted.platform is PlatformName.QEMU_SWTPM
    assert list(predicted.values) == [0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 15]
    assert azure.platform is PlatformName.AZURE_TRUSTED_LAUNCH
    assert list(azure.values) == [4, 9, 11, 12, 13, 15]
    assert all(azure.values[index] == predicted.values[index] for index in azure.values)


def test_values_follow_from_events_and_each_has_a_source(predicted: ExpectedPcrs) -> None:
    assert set(predicted.events) == set(predicted.values)
    named = {event.component for events in predicted.events.values() for event in events}
    assert named == set(Component)  # each part of a machine is in some register, and has a name
    for index, events in predicted.events.items():
        assert replay(event.digest for event in events) == predicted.values[index]
        assert all(event.what and event.source for event in events)


def test_registers_of_a_real_boot_that_need_no_large_file(
    predicted: ExpectedPcrs, recorded: RecordedBoot
) -> None:
    equal = {index for index in predicted.values if predicted.values[index] == recorded.pcrs[index]}
    assert equal == {2, 3, 5, 7, 12, 13}


def test_a_store_with_keys_is_not_predicted(
    recorded: RecordedBoot, uki_sections: dict[str, bytes], tmp_path: Path
) -> None:
    with pytest.raises(PredictionError) as caught:
        predict_pcrs(
            uki=make_pe(uki_sections),
            disk=disk_with(tmp_path, recorded.events[5][1].data),
            firmware_code=firmware_code(b"pei", b"dxe"),
            firmware_variables=variable_store(first=b"\xaa\x55"),
            app_descriptor=DESCRIPTOR,
            golden=GOLDEN,
        )
    assert caught.value.code == "predict.unknown_form"


def test_the_wire_form_is_read_back_by_the_verifier(predicted: ExpectedPcrs) -> None:
    machine = MachineProfile(cpus=2, memory_mib=2048, firmware_sha256="0" * 64, qemu="7.2.22")
    wire = platform_measurements(predicted, machine)
    again = type(wire).model_validate_json(wire.model_dump_json())
    assert again.machine == machine
    assert expected_pcrs(PlatformName.QEMU_SWTPM, again) == predicted


def test_equal_registers_have_no_difference(predicted: ExpectedPcrs) -> None:
    assert compare(predicted, predicted.values) == ()


def test_differences_are_explained_by_the_log(
    predicted: ExpectedPcrs, recorded: RecordedBoot
) -> None:
    differences = {
        difference.pcr: difference
        for difference in compare(predicted, recorded.pcrs, recorded.event_log)
    }
    assert set(differences) == {0, 1, 4, 9, 11, 15}
    assert differences[4].explanation.startswith("event 3, unified kernel image")
    assert differences[9].explanation.startswith("event 2, initrd")
    assert differences[11].explanation.startswith("event 2, UKI section .linux, content")
    assert differences[15].explanation == "the event log has no event of this register"
    assert differences[15].got == bytes(32)


def test_a_register_that_was_not_read_is_a_difference(predicted: ExpectedPcrs) -> None:
    rest = {index: value for index, value in predicted.values.items() if index != 12}
    (difference,) = compare(predicted, rest)
    assert (difference.pcr, difference.got) == (12, None)


def test_an_extend_outside_the_log_is_explained(
    predicted: ExpectedPcrs, recorded: RecordedBoot
) -> None:
    booted = dict(predicted.values) | {2: b"\xee" * 32}
    (difference,) = (d for d in compare(predicted, booted, recorded.event_log) if d.pcr == 2)
    assert difference.explanation == "the event log agrees: the register was extended outside it"


def test_one_event_too_many_is_explained(predicted: ExpectedPcrs, recorded: RecordedBoot) -> None:
    booted = dict(predicted.values) | {2: b"\xee" * 32}
    digest = recorded.events[2][0].digest
    log = recorded.event_log + struct.pack("<IIIH32sI", 2, 4, 1, 0x000B, digest, 0)
    (difference,) = compare(predicted, booted, log)
    assert difference.explanation == "expected 1 events, got 2"


def test_a_missing_event_is_explained(predicted: ExpectedPcrs, recorded: RecordedBoot) -> None:
    booted = dict(predicted.values) | {7: b"\xee" * 32}
    last = recorded.event_log.rindex(struct.pack("<III", 7, 4, 1))
    log = recorded.event_log[:last] + recorded.event_log[last + 54 :]
    (difference,) = compare(predicted, booted, log)
    assert difference.explanation.startswith("event 6 is missing: separator")
