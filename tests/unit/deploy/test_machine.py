from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from deploy.qemu.machine import (
    HOST_TOOLS,
    QEMU,
    Accelerator,
    Attachments,
    Firmware,
    MachineProfile,
    qemu_argv,
    require_host_tools,
)
from supply_chain.errors import MissingToolError

ATTACHED = Attachments(
    firmware_code=Path("/r/OVMF_CODE.fd"),
    firmware_variables=Path("/g/variables.fd"),
    os_disk=Path("/r/os.img"),
    app_disk=Path("/r/app.img"),
    tpm_socket=Path("/s/tpm"),
    console=Path("/g/console.log"),
    port=8443,
)


def test_the_whole_command() -> None:
    assert qemu_argv(MachineProfile(), ATTACHED) == [
        QEMU,
        *("-nodefaults", "-no-user-config", "-display", "none"),
        *("-machine", "q35,accel=tcg,smm=off", "-cpu", "max", "-smp", "2", "-m", "2048M"),
        "-no-reboot",
        *("-drive", "if=pflash,unit=0,format=raw,readonly=on,file=/r/OVMF_CODE.fd"),
        *("-drive", "if=pflash,unit=1,format=raw,file=/g/variables.fd"),
        *("-chardev", "socket,id=tpm,path=/s/tpm"),
        *("-tpmdev", "emulator,id=tpm,chardev=tpm", "-device", "tpm-crb,tpmdev=tpm"),
        *("-drive", "if=none,id=os,format=raw,readonly=on,file=/r/os.img"),
        *("-device", "virtio-blk-pci,drive=os,addr=0x2,bootindex=0"),
        *("-drive", "if=none,id=app,format=raw,readonly=on,file=/r/app.img"),
        *("-device", "virtio-blk-pci,drive=app,addr=0x3"),
        *("-netdev", "user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:8443-:443"),
        *("-device", "virtio-net-pci,netdev=net,addr=0x4,romfile="),
        *("-serial", "file:/g/console.log"),
    ]


def test_a_guest_without_a_port_keeps_its_network_card() -> None:
    argv = qemu_argv(MachineProfile(), replace(ATTACHED, port=None))
    assert "user,id=net,restrict=on" in argv
    assert argv[-4:-2] == ["-device", "virtio-net-pci,netdev=net,addr=0x4,romfile="]


def test_a_console_that_can_be_typed_at_is_written_to_the_same_file() -> None:
    argv = qemu_argv(MachineProfile(), replace(ATTACHED, console_input=Path("/s/console")))
    socket = "socket,id=console,path=/s/console,server=on,wait=off"
    assert argv[-4:] == [
        *("-chardev", f"{socket},logfile=/g/console.log,logappend=off"),
        *("-serial", "chardev:console"),
    ]


def test_what_another_host_adds_comes_last() -> None:
    added = ("-smbios", "type=11,value=x")
    argv = qemu_argv(MachineProfile(), replace(ATTACHED, additions=added))
    assert argv == [*qemu_argv(MachineProfile(), ATTACHED), *added]


def test_profile_and_accelerator_are_in_the_command() -> None:
    machine = MachineProfile(cpus=4, memory_mib=4096, accelerator=Accelerator.KVM)
    argv = qemu_argv(machine, ATTACHED)
    assert argv[argv.index("-smp") + 1] == "4"
    assert argv[argv.index("-m") + 1] == "4096M"
    assert argv[argv.index("-machine") + 1] == "q35,accel=kvm,smm=off"
    assert argv[argv.index("-cpu") + 1].startswith("host,")


def test_a_comma_in_a_path_adds_no_option() -> None:
    hostile = replace(ATTACHED, os_disk=Path("/r/a,readonly=off"))
    argv = qemu_argv(MachineProfile(), hostile)
    assert "if=none,id=os,format=raw,readonly=on,file=/r/a,,readonly=off" in argv


@pytest.mark.parametrize("values", [{"cpus": 0}, {"memory_mib": 64}])
def test_a_machine_that_cannot_boot_is_refused(values: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="machine: expected"):
        MachineProfile(**values)  # type: ignore[arg-type]


def test_the_wire_form_names_the_firmware_by_its_digest(tmp_path: Path) -> None:
    code = tmp_path / "code.fd"
    code.write_bytes(b"firmware")
    wire = MachineProfile().wire(Firmware(code=code, variables=code), "7.2.22")
    assert wire.model_dump() == {
        "cpus": 2,
        "memory_mib": 2048,
        "firmware_sha256": sha256(b"firmware").hexdigest(),
        "qemu": "7.2.22",
    }


def test_a_missing_program_is_named_with_its_package(
    host_tools: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(HOST_TOOLS, "no-such-program", "no-such-package")
    with pytest.raises(MissingToolError, match="no-such-package") as caught:
        require_host_tools()
    assert caught.value.code == "build.missing_tool"
