"""The virtual machine that a release is measured for, as a value and as QEMU's command line.

The firmware measures what it finds: the number of CPUs and the memory size reach PCR 0, the
devices and their places reach PCR 1. So both are part of the release's identity, and the command
line is a pure function of them.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from blindllama import measurements
from supply_chain.digest import sha256_file
from supply_chain.errors import MissingToolError
from supply_chain.process import SEARCH_PATH

if TYPE_CHECKING:
    from pathlib import Path

QEMU = "qemu-system-x86_64"

HOST_TOOLS = {
    QEMU: "qemu-system-x86",
    "swtpm": "swtpm",
    "swtpm_setup": "swtpm-tools",
    "tpm2_createprimary": "tpm2-tools",
}
"""Programs of the host that this room starts, and the Debian package of each."""

FIRMWARE_CODE = "usr/share/OVMF/OVMF_CODE_4M.fd"
FIRMWARE_VARIABLES = "usr/share/OVMF/OVMF_VARS_4M.fd"
"""Where the `ovmf` package keeps them. Not the `secboot` build: Secure Boot is not what decides
here, and that build demands SMM emulation."""

GUEST_PORT = 443


def require_host_tools() -> None:
    """Return when every program that this room starts is installed.

    Raises:
        MissingToolError: One is not; the error names its package.
    """
    for tool, package in HOST_TOOLS.items():
        if shutil.which(tool, path=SEARCH_PATH) is None:
            raise MissingToolError(tool, package)


class Accelerator(StrEnum):
    """What executes the guest's instructions."""

    TCG = "tcg"
    KVM = "kvm"


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """The UEFI firmware's two images."""

    code: Path
    """Its code, never written."""
    variables: Path
    """An empty variable store; each boot gets a copy."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MachineProfile:
    """What of a machine the firmware measures."""

    cpus: int = 2
    memory_mib: int = 2048
    accelerator: Accelerator = Accelerator.TCG

    def __post_init__(self) -> None:
        """Refuse a machine that cannot boot."""
        if self.cpus < 1 or self.memory_mib < 512:
            raise ValueError(
                f"machine: expected a CPU and 512 MiB at least, got {self.cpus} CPUs "
                f"and {self.memory_mib} MiB"
            )

    def wire(self, firmware: Firmware, qemu: str) -> measurements.MachineProfile:
        """The form that the measurements statement holds.

        Args:
            firmware: Its code's digest is part of it.
            qemu: QEMU's version, as `vm.qemu_version` tells it.
        """
        return measurements.MachineProfile(
            cpus=self.cpus,
            memory_mib=self.memory_mib,
            firmware_sha256=sha256_file(firmware.code).hex,
            qemu=qemu,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Attachments:
    """The files and the port of one particular boot; the firmware sees none of these names."""

    firmware_code: Path
    firmware_variables: Path
    """This boot's own copy of the variable store."""
    os_disk: Path
    app_disk: Path
    tpm_socket: Path
    """The control socket of the software TPM."""
    console: Path
    """What the guest writes to its serial port."""
    port: int | None
    """The port of 127.0.0.1 that leads to the guest's port 443; None for none."""
    console_input: Path | None = None
    """A socket at which the serial port can be written to as well; None for none."""
    additions: tuple[str, ...] = ()
    """Further arguments: what another host gives its guests, and no release was measured with."""


def qemu_argv(machine: MachineProfile, attached: Attachments) -> list[str]:
    """The command that starts the machine."""
    forward = f",hostfwd=tcp:127.0.0.1:{attached.port}-:{GUEST_PORT}" if attached.port else ""
    return [
        QEMU,
        # Nothing that is not listed here: no default devices, no configuration of the user's.
        "-nodefaults",
        "-no-user-config",
        "-display",
        "none",
        # SMM is only needed by Secure Boot builds of OVMF, and slow to emulate.
        "-machine",
        f"q35,accel={machine.accelerator},smm=off",
        "-cpu",
        _cpu(machine.accelerator),
        "-smp",
        str(machine.cpus),
        "-m",
        f"{machine.memory_mib}M",
        # A guest that panics reboots; ended instead, it is noticed at once.
        "-no-reboot",
        "-drive",
        f"if=pflash,unit=0,format=raw,readonly=on,file={_path(attached.firmware_code)}",
        "-drive",
        f"if=pflash,unit=1,format=raw,file={_path(attached.firmware_variables)}",
        # CRB is the interface of Azure's vTPM too.
        "-chardev",
        f"socket,id=tpm,path={_path(attached.tpm_socket)}",
        "-tpmdev",
        "emulator,id=tpm,chardev=tpm",
        "-device",
        "tpm-crb,tpmdev=tpm",
        # Places on the bus are explicit since device paths are measured into PCR 1. bootindex
        # makes the OS disk the only boot option, so PCR 4 has no failed attempts before it.
        # Without an option ROM the network card adds no code to PCR 2.
        *_disk("os", attached.os_disk, "addr=0x2,bootindex=0"),
        *_disk("app", attached.app_disk, "addr=0x3"),
        # The guest reaches neither this machine nor the network; only the one port leads in.
        "-netdev",
        f"user,id=net,restrict=on{forward}",
        "-device",
        "virtio-net-pci,netdev=net,addr=0x4,romfile=",
        *_serial(attached),
        *attached.additions,
    ]


def _serial(attached: Attachments) -> list[str]:
    if attached.console_input is None:
        return ["-serial", f"file:{attached.console}"]
    socket = f"socket,id=console,path={_path(attached.console_input)},server=on,wait=off"
    return [
        "-chardev",
        f"{socket},logfile={_path(attached.console)},logappend=off",
        "-serial",
        "chardev:console",
    ]


def _disk(name: str, image: Path, device: str) -> list[str]:
    # Read-only for QEMU as well: two guests may share an image, and none can alter it.
    return [
        "-drive",
        f"if=none,id={name},format=raw,readonly=on,file={_path(image)}",
        "-device",
        f"virtio-blk-pci,drive={name},{device}",
    ]


def _cpu(accelerator: Accelerator) -> str:
    # `max` has the AVX2 that the model server's CPU variant wants. Under KVM the width of physical
    # addresses, which the firmware keeps in measured memory, is held at the emulator's.
    return "max" if accelerator is Accelerator.TCG else "host,host-phys-bits=off,phys-bits=40"


def _path(path: Path) -> str:
    # QEMU's option syntax separates by commas; a comma in a value is doubled.
    return str(path).replace(",", ",,")
