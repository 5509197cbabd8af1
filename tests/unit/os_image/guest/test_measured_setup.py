from __future__ import annotations

import base64
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from os_image.guest.app_disk import AppDescriptor, AppDisk
from os_image.guest.errors import DiskError, TpmError
from os_image.guest.extend import extend_command, extend_pcr
from os_image.guest.measured_setup import copy_event_log, encode_events, open_app_disk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .conftest import SoftwareTpm

DISK = AppDisk(
    data=Path("/dev/vdb1"),
    tree=Path("/dev/vdb2"),
    descriptor=AppDescriptor(root_hash=bytes(range(32)), data_blocks=7),
)
OK = bytes.fromhex("80020000001300000000" + "00000000" + "0000010000")


def extended(*data: bytes) -> bytes:
    value = bytes(32)
    for one in data:
        value = hashlib.sha256(value + hashlib.sha256(one).digest()).digest()
    return value


def test_the_disk_is_measured_before_it_is_opened_and_sealed_after_it_is_mounted() -> None:
    order: list[str] = []

    def transport(command: bytes) -> bytes:
        order.append(command[-32:].hex())
        return OK

    def run(argv: Sequence[str]) -> None:
        order.append(argv[0])

    events = open_app_disk(DISK, transport=transport, run=run)
    sealed = b"blindllama/app-disk/sealed/v1"
    assert order == [
        hashlib.sha256(DISK.descriptor.encode()).hexdigest(),
        "/usr/sbin/veritysetup",
        "/usr/bin/mount",
        hashlib.sha256(sealed).hexdigest(),
    ]
    assert json.loads(encode_events(events)) == [
        {
            "pcr": 15,
            "name": "app-disk",
            "data": base64.b64encode(DISK.descriptor.encode()).decode(),
        },
        {"pcr": 15, "name": "sealed", "data": base64.b64encode(sealed).decode()},
    ]


def test_a_disk_that_does_not_open_is_never_sealed() -> None:
    sent: list[bytes] = []

    def transport(command: bytes) -> bytes:
        sent.append(command)
        return OK

    def run(argv: Sequence[str]) -> None:
        raise DiskError(f"{argv[0]} failed")

    with pytest.raises(DiskError) as caught:
        open_app_disk(DISK, transport=transport, run=run)
    assert caught.value.code == "guest.disk"
    assert len(sent) == 1


@pytest.mark.parametrize("response", [b"", OK[:9], bytes.fromhex("80010000000a00000921")])
def test_a_tpm_that_does_not_confirm_stops_the_setup(response: bytes) -> None:
    def run(argv: Sequence[str]) -> None:
        pytest.fail(f"{argv[0]} ran on an unmeasured disk")

    with pytest.raises(TpmError) as caught:
        open_app_disk(DISK, transport=lambda _: response, run=run)
    assert caught.value.code == "guest.tpm"


def test_the_event_log_is_copied_or_empty(tmp_path: Path) -> None:
    log, copy = tmp_path / "log", tmp_path / "copy"
    copy_event_log(log, copy)
    assert copy.read_bytes() == b""
    log.write_bytes(b"events")
    copy_event_log(log, copy)
    assert copy.read_bytes() == b"events"
    log.write_bytes(bytes(256 * 1024 + 1))
    copy_event_log(log, copy)
    assert copy.read_bytes() == b""


@pytest.mark.swtpm
def test_a_real_tpm_is_extended_as_a_replay_expects(software_tpm: SoftwareTpm) -> None:
    from os_image.guest.tpm import Tpm  # noqa: PLC0415 - only where there is a TPM library

    for data in (b"first", b"second"):
        extend_pcr(software_tpm.send, 14, data)
    tpm = Tpm(software_tpm.tcti)
    try:
        assert tpm.quote(bytes(32)).pcrs[14] == extended(b"first", b"second")
    finally:
        tpm.close()


@pytest.mark.swtpm
def test_a_real_tpm_refuses_a_register_that_there_is_not(software_tpm: SoftwareTpm) -> None:
    with pytest.raises(TpmError, match="expected response code 0"):
        extend_pcr(software_tpm.send, 40, b"data")
    assert len(extend_command(15, b"data")) == 65
