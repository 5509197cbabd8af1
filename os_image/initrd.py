"""The initrd: one script, the modules and programs that it needs, and nothing of a distribution.

It is read by the firmware from an untrusted disk and measured into PCR 9 (by the kernel's stub)
and PCR 11 (by the UKI's stub), so it is small enough to be read by a person as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from os_image.cpio import cpio_archive, directory_entry, file_entry, link_entry
from os_image.elf import library_closure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from os_image.cpio import Entry
    from os_image.kernel import Module
    from supply_chain.inputs.tree import Tree

EARLY = Path(__file__).resolve().parent / "early"
"""The scripts that run before there is a root file system."""
BUSYBOX = "usr/bin/busybox"
DMSETUP = "usr/sbin/dmsetup"
APPLETS = (
    *("base64", "cat", "grep", "insmod", "mkdir", "mount", "poweroff", "sed", "seq", "sh"),
    *("sleep", "switch_root", "tr"),
)
"""The commands of busybox that the scripts use."""
MOUNT_POINTS = ("dev", "proc", "root", "sys")
COMPRESSION_LEVEL = 19
"""A fifth smaller than at 15, and the UKI has a limit; above it, nothing is gained."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InitrdParts:
    """What an initrd is made of."""

    script: str
    """The name of its first program, in `os_image/early`."""
    programs: Tree
    """The unpacked set `initrd` of the lock."""
    modules: Sequence[Module] = ()
    """Loaded in this order."""
    salt: bytes = b""
    """Of the root disk's verity tree."""
    needs_dmsetup: bool = True


def initrd_entries(parts: InitrdParts) -> list[Entry]:
    """The entries of the archive.

    Raises:
        ElfError: A library of a program is missing.
    """
    root = parts.programs.root
    entries = [directory_entry(name) for name in MOUNT_POINTS]
    entries += [
        link_entry("lib", "usr/lib"),
        link_entry("lib64", "usr/lib64"),
        file_entry("init", (EARLY / parts.script).read_bytes(), executable=True),
        file_entry("bin/busybox", (root / BUSYBOX).read_bytes(), executable=True),
    ]
    entries += [link_entry(f"bin/{name}", "busybox") for name in APPLETS]
    if parts.needs_dmsetup:
        entries.append(link_entry("bin/dmsetup", f"../{DMSETUP}"))
        for path in library_closure(root, [DMSETUP]):
            content = (root / path).read_bytes()
            entries.append(file_entry(path, content, executable=True))
    listed = "".join(f"/modules.d/{module.name}.ko\n" for module in parts.modules)
    entries += [
        file_entry(f"modules.d/{module.name}.ko", module.content) for module in parts.modules
    ]
    entries.append(file_entry("modules", listed.encode()))
    entries.append(file_entry("salt", f"{parts.salt.hex()}\n".encode()))
    return entries


def build_initrd(parts: InitrdParts, *, tools: Tree) -> bytes:
    """The compressed archive.

    Raises:
        ElfError: A library of a program is missing.
        CommandError: zstd refused.
    """
    archive = cpio_archive(initrd_entries(parts))
    return tools.run(zstd_argv(), stdin=archive).stdout


def zstd_argv() -> list[str]:
    """The compressor from standard input to standard output, the same bytes on any machine."""
    # One thread: with more, the input is cut into jobs, and their size follows the machine.
    return ["zstd", f"-{COMPRESSION_LEVEL}", "--single-thread", "--quiet", "--stdout"]
