from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from deploy.qemu import release, vm
from deploy.qemu.machine import Firmware, MachineProfile
from deploy.qemu.vtpm import ProvisionedTpm
from engine.target import RELEASE_MANIFEST, TargetError
from supply_chain.errors import BootError
from supply_chain.workspace import Workspace

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tmp_path /= "release"
    tmp_path.mkdir()
    for name in (release.OS_DISK, release.APP_DISK, release.FIRMWARE_VARIABLES):
        (tmp_path / name).write_bytes(b"x")
    code = tmp_path / release.FIRMWARE_CODE
    code.write_bytes(b"firmware")
    wire = MachineProfile(cpus=4).wire(Firmware(code=code, variables=code), "7.2.22")
    (tmp_path / release.MACHINE).write_text(wire.model_dump_json())
    (tmp_path / RELEASE_MANIFEST).write_text('{"kind": "gguf", "name": "mine"}')
    return tmp_path


def test_the_measured_machine_is_read(folder: Path) -> None:
    assert release.read_machine(folder) == MachineProfile(cpus=4)


@pytest.mark.parametrize(
    "name",
    ["os.img", "app.img", "OVMF_CODE.fd", "OVMF_VARS.fd", "machine.json", "engine-manifest.json"],
)
def test_an_incomplete_release_is_refused(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BootError, match=f"it lacks {name}") as caught:
        release.read_machine(folder)
    assert caught.value.code == "build.boot"


def test_another_firmware_is_refused_before_the_boot(folder: Path) -> None:
    (folder / release.FIRMWARE_CODE).write_bytes(b"other")
    with pytest.raises(BootError, match=r"OVMF_CODE.fd: expected sha256") as caught:
        release.read_machine(folder)
    assert caught.value.code == "build.boot"


def test_a_damaged_profile_is_refused(folder: Path) -> None:
    (folder / release.MACHINE).write_text("{}")
    with pytest.raises(BootError, match="expected a machine profile"):
        release.read_machine(folder)


def test_a_checkout_without_a_release_is_told_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(BootError, match="make one: invoke release"):
        release.read_machine(tmp_path / "dist" / "release")


@pytest.mark.parametrize("kind", ["trt-plan", "trtllm-checkpoint"])
def test_an_engine_for_a_gpu_is_refused_before_the_boot(folder: Path, kind: str) -> None:
    workspace = Workspace.at(folder.parent, {})
    workspace.release.parent.mkdir()
    folder.rename(workspace.release)
    materials = {"gpus": [{"architecture": "8.0"}], "libraries": {"tensorrt_llm": "1.2.1"}}
    (workspace.release / RELEASE_MANIFEST).write_text(
        json.dumps({"kind": kind, "name": "mine", "materials": materials})
    )
    with pytest.raises(TargetError, match="architecture 8.0 .* got one without a GPU") as caught:
        release.boot_release(workspace, now=datetime(2026, 1, 1, tzinfo=UTC))
    assert caught.value.code == "engine.target"
    # Not even a TPM was made for it.
    assert not workspace.state.exists()


def test_a_signed_image_takes_the_place_of_the_disk_and_of_the_variables(
    folder: Path, workspace: Workspace
) -> None:
    firmware = Firmware(code=folder / "code.fd", variables=folder / "empty.fd")
    parts = vm.Parts(
        machine=MachineProfile(),
        firmware=firmware,
        os_disk=folder / "os.img",
        app_disk=folder / "app.img",
        tpm=ProvisionedTpm(state=folder, ak_certificate=b"", intermediate=b"", root=b""),
    )
    with pytest.raises(BootError, match="make one: invoke secure-boot.sign") as caught:
        release.signed_parts(workspace, parts)
    assert caught.value.code == "build.boot"
    signed = workspace.build / "secure-boot"
    signed.mkdir(parents=True)
    for name in ("os.img", "OVMF_VARS.fd"):
        (signed / name).write_bytes(b"x")
    found = release.signed_parts(workspace, parts)
    assert found.os_disk == signed / "os.img"
    assert found.firmware == Firmware(code=firmware.code, variables=signed / "OVMF_VARS.fd")
    assert (found.app_disk, found.machine, found.tpm) == (parts.app_disk, parts.machine, parts.tpm)
