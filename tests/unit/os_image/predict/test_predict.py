from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import pytest

from blindllama.explain import Explanation, Machine, explain_registers
from blindllama.measurements import Component, MachineProfile, PlatformName, expected_pcrs
from blindllama.pcr import replay
from os_image.predict.bank import PredictionError
from os_image.predict.golden import GoldenPcrs, golden_from_boot
from os_image.predict.predict import (
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


def explained(
    predicted: ExpectedPcrs, recorded: RecordedBoot, log: bytes, **changes: bytes
) -> dict[int, Explanation]:
    """What the client says of the recorded boot, or of the predicted one with `pcr2=…` changed."""
    changed = {int(name.removeprefix("pcr")): value for name, value in changes.items()}
    values = {**predicted.values, **changed} if changes else recorded.pcrs
    wrong = [pcr for pcr, value in predicted.values.items() if values[pcr] != value]
    machine = Machine(values=values, event_log=log, app_events=())
    return {one.pcr: one for one in explain_registers(wrong, machine, expected=predicted)}


def test_a_real_boot_of_another_image_is_explained_by_its_log(
    predicted: ExpectedPcrs, recorded: RecordedBoot
) -> None:
    found = explained(predicted, recorded, recorded.event_log)
    assert {pcr: one.component for pcr, one in found.items()} == {
        0: Component.FIRMWARE,
        1: Component.BOOT_OPTIONS,
        4: Component.BOOT_IMAGE,
        9: Component.INITRD,
        11: Component.KERNEL,
        15: Component.APP_DISK,
    }
    assert list(found)[-1] == 4  # the boot image differs because of what is in it
    assert found[9].raw[2].startswith("event 2, initrd")
    assert found[15].sentence.endswith("was not measured")


def test_an_extend_outside_the_log_is_not_explained_by_it(
    predicted: ExpectedPcrs, recorded: RecordedBoot
) -> None:
    why = explained(predicted, recorded, recorded.event_log, pcr2=b"\xee" * 32)[2]
    assert not why.found


def test_one_event_too_many_is_explained(predicted: ExpectedPcrs, recorded: RecordedBoot) -> None:
    digest = recorded.events[2][0].digest
    log = recorded.event_log + struct.pack("<IIIH32sI", 2, 4, 1, 0x000B, digest, 0)
    twice = replay([digest, digest])
    why = explained(predicted, recorded, log, pcr2=twice)[2]
    assert "event 2 is one too many" in why.raw[2]
    silent = explained(predicted, recorded, b"", pcr2=twice)[2]
    assert silent.sentence == "the course of the boot was measured twice"


def test_a_missing_event_is_explained(predicted: ExpectedPcrs, recorded: RecordedBoot) -> None:
    last = recorded.event_log.rindex(struct.pack("<III", 7, 4, 1))
    log = recorded.event_log[:last] + recorded.event_log[last + 54 :]
    short = replay(event.digest for event in predicted.events[7][:-1])
    for told in (log, b""):
        why = explained(predicted, recorded, told, pcr7=short)[7]
        assert "event 6" in why.raw[2]
        assert "missing: separator" in why.raw[2]
