from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from os_image.predict.bank import PredictionError
from os_image.predict.firmware import check_empty_variables, parse_firmware
from tests.unit.os_image.predict.images import (
    LZMA,
    VARIABLE_STORE,
    firmware_code,
    firmware_file,
    firmware_volume,
    variable_store,
)

if TYPE_CHECKING:
    from tests.unit.os_image.predict.conftest import RecordedBoot


def test_the_two_volumes_are_found_behind_other_files() -> None:
    found = parse_firmware(firmware_code(b"early code", b"drivers"))
    assert (found.pei, found.dxe) == (b"early code", b"drivers")


def test_the_dxe_volume_of_real_firmware_is_what_it_measured(
    ovmf_code: bytes, recorded: RecordedBoot
) -> None:
    volumes = parse_firmware(ovmf_code)
    assert sha256(volumes.dxe).digest() == recorded.events[0][2].digest
    # The PEI volume changes before it is measured: this is why PCR 0 needs a golden value.
    assert sha256(volumes.pei).digest() != recorded.events[0][1].digest
    assert (len(volumes.pei), len(volumes.dxe)) == (0xE0000, 0xC00000)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(b"", id="empty"),
        pytest.param(bytes(4096), id="zeroes"),
        pytest.param(firmware_volume(firmware_file(0x07, b"a driver")), id="no compressed file"),
        pytest.param(firmware_code(b"only one"), id="one volume"),
        pytest.param(firmware_code(b"a", b"b", guid=VARIABLE_STORE), id="another compression"),
        pytest.param(firmware_code(b"a", b"b" * 4096)[:-40], id="cut off"),
        pytest.param(
            firmware_volume(firmware_file(0x0B, b"\0\0\0\2")), id="a section without size"
        ),
    ],
)
def test_another_firmware_is_refused(code: bytes) -> None:
    with pytest.raises(PredictionError) as caught:
        parse_firmware(code)
    assert caught.value.code == "predict.unknown_form"


def test_an_empty_variable_store_is_accepted() -> None:
    check_empty_variables(variable_store())


def test_the_real_variable_store_is_empty() -> None:
    path = Path("/usr/share/OVMF/OVMF_VARS_4M.fd")
    if not path.exists():
        pytest.skip("needs the ovmf package")
    check_empty_variables(path.read_bytes())


@pytest.mark.parametrize(
    "store",
    [
        pytest.param(b"", id="empty file"),
        pytest.param(bytes(4096), id="zeroes"),
        pytest.param(variable_store(first=b"\xaa\x55\x3f"), id="a variable"),
        pytest.param(variable_store(guid=LZMA), id="another kind of store"),
    ],
)
def test_a_store_that_could_change_the_boot_is_refused(store: bytes) -> None:
    with pytest.raises(PredictionError) as caught:
        check_empty_variables(store)
    assert caught.value.code == "predict.unknown_form"
