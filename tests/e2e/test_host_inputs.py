"""What a host hands to a guest beside the release's disks: without effect, or seen by the client.

The table of docs/threat-model.md, live. Inputs that move no register are given together, and the
guest must verify and answer; inputs that move one are given together too, and each must have its
own event in the log whose replay is what the TPM signed. (B1, B2, B4, B7)
"""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

import publication
from blindllama import VerificationError, verify_and_connect
from blindllama.errors import Code
from blindllama.pcr import replay
from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from deploy.qemu.machine import Firmware
from os_image.build import BOOT_PATH
from os_image.esp import with_esp
from os_image.predict.event_log import LoggedEvent, parse_event_log
from os_image.variable_store import with_variables
from pipeline import OS_IMAGE
from standing import Published
from supply_chain.errors import BootError
from supply_chain.step import StepResult
from tests.e2e.raw import attests, claimed_evidence
from tests.simulators.hostile_host import (
    addon,
    another_disk,
    boot_entries,
    fw_cfg,
    grow,
    smbios_string,
)

pytestmark = pytest.mark.e2e

WAIT_S = 150.0
NONCE = bytes(range(7, 39))
MIB = 1 << 20
EXTRA = f"{BOOT_PATH}.extra.d"
CREDENTIAL = b"by a file of the ESP"


@pytest.fixture(scope="module")
def uki(results: Mapping[str, StepResult]) -> bytes:
    return results[OS_IMAGE].path("uki.efi").read_bytes()


@pytest.fixture(scope="module")
def esp_bytes(results: Mapping[str, StepResult]) -> int:
    facts = json.loads(results[OS_IMAGE].path("os-image.json").read_bytes())
    size: int = facts["partitions"][0]["size_bytes"]
    return size


def test_what_moves_no_register_has_no_effect(
    site: Site, published: Published, uki: bytes, esp_bytes: int, tmp_path: Path
) -> None:
    """B1, B7: credentials, files beside the UKI, a larger disk, another name of the machine.

    The guest has the release's registers and answers. That the credentials did not arrive is seen
    from inside, in `test_hardening`.
    """
    disk = tmp_path / "os.img"
    beside = {
        "/EFI/Linux/other.efi": uki[:MIB],
        "/loader/loader.conf": b"default other\n",
        "/loader/entries/other.conf": b"title other\noptions evil=1\nlinux /EFI/Linux/other.efi\n",
        "/startup.nsh": b"\\EFI\\Linux\\other.efi evil=1\n",
    }
    with_esp(
        published.folder / deployed.OS_DISK,
        {BOOT_PATH: uki, **beside},
        size_bytes=esp_bytes,
        tools=site.tree("tools"),
        out=disk,
    )
    with disk.open("r+b") as file:
        file.truncate(disk.stat().st_size + 64 * MIB)
    parts = replace(
        deployed.release_parts(site.workspace, now=site.clock()),
        os_disk=disk,
        additions=(
            *smbios_string("io.systemd.credential:evil.test=1"),
            *smbios_string("io.systemd.credential:sysctl.extra=kernel.dmesg_restrict=0"),
            *fw_cfg("opt/io.systemd.credentials/evil.test", "1"),
            *fw_cfg("opt/org.test/evil", "1"),
            *("-smbios", "type=1,manufacturer=Evil,product=Evil,serial=1"),
        ),
    )
    guest = vm.boot(tmp_path / "guest", parts, now=site.clock(), progress=site.progress)
    try:
        with publication.connect(published, guest.url) as session:
            assert session.report.passed
            assert session.completion("The capital of France is", max_tokens=2)
    finally:
        vm.down(guest.directory)


def test_what_reaches_the_kernel_is_measured(
    site: Site, published: Published, uki: bytes, esp_bytes: int, tmp_path: Path
) -> None:
    """B1, B2, B7: each addition has an event of its own, and the client refuses."""
    tools = site.tree("tools")
    disk, variables = tmp_path / "os.img", tmp_path / "variables.fd"
    files = {
        BOOT_PATH: uki,
        "/EFI/other.efi": uki[:MIB],
        "/loader/addons/global.addon.efi": addon("evil.global=1", tools=tools, work=tmp_path),
        "/loader/credentials/global.cred": CREDENTIAL,
        f"{EXTRA}/local.addon.efi": addon("evil.local=1", tools=tools, work=tmp_path),
        f"{EXTRA}/local.cred": CREDENTIAL,
        f"{EXTRA}/evil.sysext.raw": bytes(4096),
        f"{EXTRA}/evil.confext.raw": bytes(4096),
    }
    source = published.folder / deployed.OS_DISK
    with_esp(source, files, size_bytes=esp_bytes, tools=tools, out=disk)
    grow(disk, by_bytes=64 * MIB)
    parts = deployed.release_parts(site.workspace, now=site.clock())
    command_line = json.loads((site.workspace.build / OS_IMAGE / "os-image.json").read_bytes())
    options = f"{command_line['command_line']} evil.load_options=1\0".encode("utf-16-le")
    entries = {BOOT_PATH.replace("/", "\\"): options, "\\EFI\\other.efi": b""}
    variables.write_bytes(
        with_variables(parts.firmware.variables.read_bytes(), boot_entries(entries, disk=disk))
    )
    parts = replace(
        parts,
        os_disk=disk,
        firmware=Firmware(code=parts.firmware.code, variables=variables),
        additions=smbios_string("io.systemd.stub.kernel-cmdline-extra=evil.smbios=1"),
    )
    guest = vm.boot(
        tmp_path / "guest", parts, now=site.clock(), ready=attests, progress=site.progress
    )
    try:
        document = json.loads(claimed_evidence(guest.url, NONCE).document)
        with pytest.raises(VerificationError) as caught:
            verify_and_connect(guest.url, release=published.evidence, policy=published.policy)
    finally:
        vm.down(guest.directory)
    assert caught.value.code == Code.MEASUREMENT_MISMATCH
    booted = [bytes.fromhex(value) for value in document["pcrs"]["sha256"]]
    log = parse_event_log(base64.b64decode(document["event_log"]))
    expected = published.verified.expected.values
    assert {index for index, value in expected.items() if booted[index] != value} == {
        *(1, 4, 5, 9, 12, 13)
    }
    for register in (1, 5, 12, 13):
        assert replay(event.digest for event in log if event.pcr == register) == booted[register]
    for words in ("evil.load_options=1", "evil.global=1", "evil.local=1", "evil.smbios=1"):
        assert [pcr for pcr in said(log, words) if pcr == 12], words
    assert len([pcr for pcr in said(log, "redentials initrd") if pcr == 12]) == 2
    assert 13 in said(log, "ystem extension initrd")
    assert 12 in said(log, "onfiguration extension initrd")
    assert [event.pcr for event in log if b"o\0t\0h\0e\0r\0.\0e\0f\0i\0" in event.data] == [1]


def said(log: tuple[LoggedEvent, ...], words: str) -> list[int]:
    """The registers of the events that say these words, in UTF-16 as systemd-stub does."""
    return [event.pcr for event in log if words.encode("utf-16-le") in event.data]


def test_b4_a_second_disk_with_the_labels_of_the_application(
    site: Site, published: Published, tmp_path: Path
) -> None:
    """Two that call themselves the application: neither is opened, nothing answers."""
    with pytest.raises(BootError) as caught:
        _boot_beside(site, tmp_path, published.folder / deployed.APP_DISK, place=0x5)
    assert "expected one partition named 'app', got vdb1, vdc1" in str(caught.value)


def test_b4_a_first_disk_with_the_labels_of_the_root(
    site: Site, published: Published, tmp_path: Path
) -> None:
    """It is found before the real one and opened with the measured root hash: not a block fits."""
    disk = tmp_path / "evil.img"
    shutil.copyfile(published.folder / deployed.OS_DISK, disk)
    facts = json.loads((site.workspace.build / OS_IMAGE / "os-image.json").read_bytes())
    root = next(entry for entry in facts["partitions"] if entry["name"] == "root")
    with disk.open("r+b") as file:
        # Where the file system says what it is; the rest is genuine.
        file.seek(root["offset_bytes"] + 1024)
        file.write(bytes(128))
    with pytest.raises(BootError) as caught:
        _boot_beside(site, tmp_path, disk, place=0x1)
    assert "device-mapper: verity: " in str(caught.value)
    assert "corrupted" in str(caught.value)


def _boot_beside(site: Site, folder: Path, disk: Path, *, place: int) -> None:
    parts = replace(
        deployed.release_parts(site.workspace, now=site.clock()),
        additions=another_disk(disk, place=place),
    )
    for _ in range(vm.ATTEMPTS):
        try:
            guest = vm.boot(folder / "guest", parts, now=site.clock(), timeout_s=WAIT_S, attempts=1)
        except BootError as exc:
            # The emulator's own rare panic says nothing about the guest.
            if vm.EMULATOR_PANIC not in str(exc):
                raise
        else:
            vm.down(guest.directory)
            return
