"""A release folder, booted: what `boot.up` and the release's last step do."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from pydantic import ValidationError

from blindllama import measurements
from deploy.qemu import vm, vtpm
from deploy.qemu.machine import Accelerator, Firmware, MachineProfile
from engine.target import RELEASE_MANIFEST, check_target
from supply_chain.digest import sha256_file
from supply_chain.errors import BootError, faults

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from supply_chain.progress import Progress
    from supply_chain.workspace import Workspace

OS_DISK = "os.img"
APP_DISK = "app.img"
FIRMWARE_CODE = "OVMF_CODE.fd"
FIRMWARE_VARIABLES = "OVMF_VARS.fd"
MACHINE = "machine.json"
SECURE_BOOT = "secure-boot"
"""The folder of `build` where `secure-boot.sign` leaves a signed image."""


def guest_directory(workspace: Workspace) -> Path:
    """Where the guest of a checkout keeps its files."""
    return workspace.build / "qemu" / "guest"


def boot_release(
    workspace: Workspace,
    *,
    now: datetime,
    port: int | None = None,
    accelerator: Accelerator | None = Accelerator.TCG,
    secure_boot: bool = False,
    progress: Progress | None = None,
) -> vm.Guest:
    """A guest of the release in `dist/release` that answers at its port.

    Args:
        workspace: The checkout whose release is booted, and whose software TPM is used.
        now: The time, for new certificates and for the record.
        port: The port of 127.0.0.1; a free one when None.
        accelerator: What executes it; KVM where it works when None. PCR 0 was taken under TCG.
        secure_boot: Boot the signed disk on a machine with the keys, `signed_parts`.
        progress: Where to tell what goes on.

    Raises:
        BootError: The release is incomplete or its guest did not come up.
        TargetError: Its engine needs a GPU, which this machine has not; nothing was started.
        MissingToolError: QEMU, swtpm or tpm2-tools is not installed.
    """
    parts = release_parts(workspace, now=now, accelerator=accelerator)
    if secure_boot:
        parts = signed_parts(workspace, parts)
    return vm.boot(guest_directory(workspace), parts, now=now, port=port, progress=progress)


def release_parts(
    workspace: Workspace, *, now: datetime, accelerator: Accelerator | None = Accelerator.TCG
) -> vm.Parts:
    """What a guest of the release in `dist/release` is made of.

    Args:
        workspace: The checkout whose release is booted, and whose software TPM is used.
        now: The time, for new certificates.
        accelerator: What executes it; KVM where it works when None.

    Raises:
        BootError: The release is incomplete.
        TargetError: Its engine needs a GPU, which this machine has not.
        MissingToolError: QEMU, swtpm or tpm2-tools is not installed.
    """
    folder = workspace.release
    machine = read_machine(folder)
    check_target(folder / RELEASE_MANIFEST, None)
    firmware = Firmware(code=folder / FIRMWARE_CODE, variables=folder / FIRMWARE_VARIABLES)
    chosen = accelerator or vm.usable_accelerator(firmware)
    return vm.Parts(
        machine=dataclasses.replace(machine, accelerator=chosen),
        firmware=firmware,
        os_disk=folder / OS_DISK,
        app_disk=folder / APP_DISK,
        tpm=vtpm.provision(workspace.state, now=now),
    )


def signed_parts(workspace: Workspace, parts: vm.Parts) -> vm.Parts:
    """The same guest with the signed OS disk, on a machine with the keys of Secure Boot.

    Raises:
        BootError: `secure-boot.sign` was not run.
    """
    folder = workspace.build / SECURE_BOOT
    missing = [name for name in (OS_DISK, FIRMWARE_VARIABLES) if not (folder / name).is_file()]
    if missing:
        raise BootError(
            f"{folder}: expected a signed image, it lacks {', '.join(missing)}; "
            "make one: invoke secure-boot.sign"
        )
    firmware = dataclasses.replace(parts.firmware, variables=folder / FIRMWARE_VARIABLES)
    return dataclasses.replace(parts, os_disk=folder / OS_DISK, firmware=firmware)


def read_machine(folder: Path) -> MachineProfile:
    """The machine for which a release folder was measured.

    Raises:
        BootError: A file is missing, or the firmware is not the one that was measured.
    """
    wanted = (OS_DISK, APP_DISK, FIRMWARE_CODE, FIRMWARE_VARIABLES, MACHINE, RELEASE_MANIFEST)
    missing = [name for name in wanted if not (folder / name).is_file()]
    if missing:
        raise BootError(
            f"{folder}: expected a release, it lacks {', '.join(missing)}; make one: invoke release"
        )
    try:
        wire = measurements.MachineProfile.model_validate_json((folder / MACHINE).read_bytes())
    except ValidationError as exc:
        raise BootError(f"{folder / MACHINE}: expected a machine profile: {faults(exc)}") from exc
    got = sha256_file(folder / FIRMWARE_CODE).hex
    if got != wire.firmware_sha256:
        raise BootError(f"{FIRMWARE_CODE}: expected sha256 {wire.firmware_sha256}, got {got}")
    return MachineProfile(cpus=wire.cpus, memory_mib=wire.memory_mib)
