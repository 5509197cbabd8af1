"""The unified kernel image: kernel, initrd and command line in one PE file that is measured whole.

Source: UAPI Group Specifications, UPG.5 "Unified Kernel Image"; systemd 257, ukify(1) and
systemd-stub(7).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from supply_chain.inputs.tree import Tree

_WORK = "/mnt/work"
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
"""What the firmware starts: it measures the sections of the UKI and hands over to the kernel."""
STUB_PACKAGE = "systemd-boot-efi"


@dataclass(frozen=True, slots=True, kw_only=True)
class UkiParts:
    """What a unified kernel image is made of."""

    kernel: Path
    initrd: bytes
    command_line: str
    os_release: str
    kernel_release: str


def ukify_argv(kernel_release: str) -> list[str]:
    """The command that puts the files of the working directory together.

    No key and no certificate: without Secure Boot it is the measurement that decides.
    """
    return [
        "ukify",
        "build",
        f"--linux={_WORK}/linux",
        f"--initrd={_WORK}/initrd",
        f"--cmdline=@{_WORK}/cmdline",
        f"--os-release=@{_WORK}/os-release",
        f"--uname={kernel_release}",
        f"--stub={STUB}",
        f"--output={_WORK}/uki.efi",
    ]


def build_uki(parts: UkiParts, *, tools: Tree, work: Path) -> Path:
    """The path of the image, in the directory `work`.

    Args:
        parts: What goes into it.
        tools: Where ukify and the stub are.
        work: A directory for it and its parts.

    Raises:
        CommandError: ukify refused.
    """
    (work / "linux").write_bytes(parts.kernel.read_bytes())
    (work / "initrd").write_bytes(parts.initrd)
    (work / "cmdline").write_text(parts.command_line, encoding="ascii")
    (work / "os-release").write_text(parts.os_release, encoding="utf-8")
    tools.run(
        ukify_argv(parts.kernel_release),
        binds=[Bind(host=work, inside=_WORK, read_only=False)],
        env={"PYTHONHASHSEED": "0"},
    )
    return work / "uki.efi"
