"""Each register's events against those of a real boot."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from blindllama.measurements import Component
from blindllama.pcr import replay
from os_image.pe import PeFormatError, authenticode_sha256
from os_image.predict import (
    pcr00,
    pcr01,
    pcr02,
    pcr03,
    pcr04,
    pcr05,
    pcr07,
    pcr09,
    pcr11,
    pcr12,
    pcr13,
    pcr15,
)
from os_image.predict.bank import Event, PredictionError
from os_image.predict.firmware import FirmwareVolumes
from os_image.secure_boot.keys import Certificates
from os_image.secure_boot.variables import OWNER, signature_list
from os_image.variable_store import GLOBAL, SECURITY_DATABASE
from tests.unit.os_image.predict.images import disk_with, make_pe

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from types import ModuleType

    from tests.unit.os_image.predict.conftest import RecordedBoot


def digests(events: Iterable[Event]) -> list[bytes]:
    return [event.digest for event in events]


def logged(recorded: RecordedBoot, index: int) -> list[bytes]:
    return [event.digest for event in recorded.events[index]]


def test_pcr_0_of_a_real_boot(recorded: RecordedBoot) -> None:
    dxe = recorded.events[0][2].digest
    events = pcr00.events(FirmwareVolumes(pei=b"", dxe=b"x"), recorded.events[0][1].digest)
    expected = logged(recorded, 0)
    assert digests(events)[:2] == expected[:2]
    assert digests(events)[3:] == expected[3:]
    assert events[2].digest == sha256(b"x").digest() != dxe


def test_pcr_1_of_a_real_boot(recorded: RecordedBoot) -> None:
    variables = [(f"Boot{n}", event.digest) for n, event in enumerate(recorded.events[1][:-1])]
    assert digests(pcr01.events(variables)) == logged(recorded, 1)


@pytest.mark.parametrize("module", [pcr02, pcr03, pcr07])
def test_registers_without_inputs_of_a_real_boot(
    recorded: RecordedBoot, module: ModuleType
) -> None:
    assert digests(module.events()) == logged(recorded, module.INDEX)


def test_pcr_7_with_keys_says_whose_and_by_which_one() -> None:
    """UEFI_VARIABLE_DATA of five variables, the separator, and the entry of db that was used."""
    keys = Certificates(pk=b"platform", kek=b"exchange", db=b"signer")
    events = pcr07.events(keys)
    off = pcr07.events()
    assert [event.what.split(":")[0] for event in events[:5]] == [
        event.what.split(":")[0] for event in off[:5]
    ]
    on = pcr07.variable_data(GLOBAL, "SecureBoot", b"\1")
    db = pcr07.variable_data(SECURITY_DATABASE, "db", signature_list(b"signer"))
    used = pcr07.variable_data(SECURITY_DATABASE, "db", OWNER.bytes_le + b"signer")
    assert digests(events)[0] == sha256(on).digest()
    assert digests(events)[3] == sha256(db).digest()
    assert digests(events)[4:6] == digests(off)[4:6]
    assert digests(events)[6:] == [sha256(used).digest()]


def test_pcr_4_with_secure_boot_has_no_event_of_the_kernel(uki_sections: dict[str, bytes]) -> None:
    uki = make_pe(uki_sections)
    assert pcr04.events(uki, secure_boot=True) == pcr04.events(uki)[:-1]


@pytest.mark.parametrize("module", [pcr12, pcr13])
def test_registers_that_stay_zero(recorded: RecordedBoot, module: ModuleType) -> None:
    assert replay(digests(module.events())) == recorded.pcrs[module.INDEX] == bytes(32)


def test_pcr_4_has_the_events_of_a_real_boot_around_the_image(
    recorded: RecordedBoot, uki_sections: dict[str, bytes]
) -> None:
    uki = make_pe(uki_sections)
    events = pcr04.events(uki)
    assert len(events) == len(logged(recorded, 4))
    assert digests(events)[:2] == logged(recorded, 4)[:2]
    assert events[2].digest == authenticode_sha256(uki).bytes
    assert events[3].digest == authenticode_sha256(uki_sections[".linux"]).bytes


def test_pcr_4_refuses_a_kernel_that_no_firmware_loads(uki_sections: dict[str, bytes]) -> None:
    with pytest.raises(PeFormatError) as caught:
        pcr04.events(make_pe(uki_sections | {".linux": b"no PE image"}))
    assert caught.value.code == "pe.malformed"


def test_pcr_5_of_a_real_boot(recorded: RecordedBoot, tmp_path: Path) -> None:
    disk = disk_with(tmp_path, recorded.events[5][1].data)
    assert pcr05.gpt_event_data(disk) == recorded.events[5][1].data
    assert digests(pcr05.events(disk)) == logged(recorded, 5)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(4096), id="no table"),
        pytest.param(bytes(512) + b"EFI PART", id="cut off"),
        pytest.param(bytes(512) + b"EFI PART" + b"\xff" * 504, id="a huge table"),
        pytest.param(bytes(512) + b"EFI PART".ljust(504, b"\0"), id="entries without size"),
    ],
)
def test_pcr_5_refuses_a_disk_without_a_table(tmp_path: Path, content: bytes) -> None:
    disk = tmp_path / "disk.img"
    disk.write_bytes(content)
    with pytest.raises(PredictionError) as caught:
        pcr05.events(disk)
    assert caught.value.code == "predict.unknown_form"


def test_pcr_9_measures_the_command_line_of_a_real_boot(
    recorded: RecordedBoot, uki_sections: dict[str, bytes]
) -> None:
    events = pcr09.events(make_pe(uki_sections))
    assert len(events) == len(logged(recorded, 9))
    assert events[0].digest == logged(recorded, 9)[0]
    assert (events[0].text or "").encode() == uki_sections[".cmdline"]


def test_pcr_9_appends_the_archive_that_a_real_boot_had(
    recorded: RecordedBoot, uki_sections: dict[str, bytes]
) -> None:
    archive = (recorded.folder / "stub-archive.cpio").read_bytes()
    assert pcr09.composed_initrd(b"12345", uki_sections[".osrel"]) == b"12345\0\0\0" + archive


@pytest.mark.skipif(shutil.which("cpio") is None, reason="needs cpio")
def test_pcr_9_archive_is_one_that_cpio_reads(tmp_path: Path) -> None:
    archive = pcr09.composed_initrd(b"", b"ID=x\n")
    subprocess.run(["cpio", "-id", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / ".extra" / "os-release").read_bytes() == b"ID=x\n"


@pytest.mark.parametrize(
    "cmdline", [b"quiet ", b" quiet", b"quiet\n", b"a\tb", b"a\0", "é".encode(), b"\xff"]
)
def test_pcr_9_refuses_a_command_line_that_the_stub_changes(cmdline: bytes) -> None:
    with pytest.raises(PredictionError) as caught:
        pcr09.load_options(cmdline)
    assert caught.value.code == "predict.unknown_form"


def test_pcr_11_has_the_small_sections_of_a_real_boot_in_the_stubs_order(
    recorded: RecordedBoot, uki_sections: dict[str, bytes]
) -> None:
    events = pcr11.events(make_pe(uki_sections))
    expected = logged(recorded, 11)
    assert len(events) == len(expected)
    ours = {".linux, content", ".initrd, content"}
    for event, digest in zip(events, expected, strict=True):
        is_ours = any(event.what.endswith(name) for name in ours)
        assert (event.digest == digest) is not is_ours


def test_pcr_11_does_not_depend_on_the_order_in_the_file(uki_sections: dict[str, bytes]) -> None:
    turned = dict(reversed(list(uki_sections.items())))
    assert digests(pcr11.events(make_pe(turned))) == digests(pcr11.events(make_pe(uki_sections)))


@pytest.mark.parametrize("name", [".ucode", ".dtb", ".dtbauto", ".pcrsig", ".profile", ".splash"])
def test_pcr_11_refuses_sections_that_make_the_stub_do_more(
    uki_sections: dict[str, bytes], name: str
) -> None:
    with pytest.raises(PredictionError) as caught:
        pcr11.events(make_pe(uki_sections | {name: b"x"}))
    assert caught.value.code == "predict.unknown_form"


@pytest.mark.parametrize("name", [".linux", ".osrel", ".cmdline", ".initrd", ".uname"])
def test_pcr_11_refuses_an_image_without_a_part(uki_sections: dict[str, bytes], name: str) -> None:
    rest = {key: value for key, value in uki_sections.items() if key != name}
    with pytest.raises(PredictionError) as caught:
        pcr11.events(make_pe(rest))
    assert caught.value.code == "predict.unknown_form"


def test_pcr_15_is_the_descriptor_and_then_the_seal() -> None:
    descriptor = b'{"algorithm":"sha256"}'
    expected = [sha256(descriptor).digest(), sha256(b"blindllama/app-disk/sealed/v1").digest()]
    assert digests(pcr15.events(descriptor)) == expected


def test_an_event_has_a_digest_of_the_bank() -> None:
    with pytest.raises(ValueError, match="expected 32 bytes, got 20"):
        Event(pcr=0, digest=bytes(20), what="x", source="y", component=Component.FIRMWARE)
