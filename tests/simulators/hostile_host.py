"""What a host can hand to a guest beside the release's disks, made as a hostile one would."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from zlib import crc32

from os_image.variable_store import GLOBAL, PLAIN, Variable
from supply_chain.inputs.tree import Bind, Tree

SECTOR = 512
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_BACKUP_SECTORS = 33
_WORK = "/mnt/work"
_ADDON_STUB = "/usr/lib/systemd/boot/efi/addonx64.efi.stub"


def smbios_string(text: str) -> tuple[str, ...]:
    """QEMU's arguments for a string of the firmware's tables, type 11."""
    return ("-smbios", f"type=11,value={text.replace(',', ',,')}")


def fw_cfg(name: str, content: str) -> tuple[str, ...]:
    """QEMU's arguments for a file of its own configuration device."""
    return ("-fw_cfg", f"name={name},string={content.replace(',', ',,')}")


def another_disk(image: Path, *, place: int) -> tuple[str, ...]:
    """QEMU's arguments for one more disk at a place of the bus."""
    path = str(image).replace(",", ",,")
    return (
        *("-drive", f"if=none,id=more,format=raw,readonly=on,file={path}"),
        *("-device", f"virtio-blk-pci,drive=more,addr={place:#x}"),
    )


def addon(words: str, *, tools: Tree, work: Path) -> bytes:
    """An add-on for systemd-stub: a PE file with more words for the kernel's command line."""
    argv = ["ukify", "build", f"--cmdline={words}", f"--stub={_ADDON_STUB}"]
    argv.append(f"--output={_WORK}/addon.efi")
    tools.run(argv, binds=[Bind(host=work, inside=_WORK, read_only=False)])
    return (work / "addon.efi").read_bytes()


def grow(disk: Path, *, by_bytes: int) -> None:
    """Make a disk larger and move its second partition table to the new end, as fdisk does."""
    size = disk.stat().st_size + by_bytes
    last = size // SECTOR - 1
    with disk.open("r+b") as file:
        file.truncate(size)
        file.seek(SECTOR)
        fields = list(_HEADER.unpack(file.read(_HEADER.size)))
        fields[6], fields[8] = last, last - _BACKUP_SECTORS
        file.seek(SECTOR)
        file.write(_sealed(fields))
        file.seek(fields[10] * SECTOR)
        entries = file.read(fields[11] * fields[12])
        fields[5], fields[6], fields[10] = last, 1, last - _BACKUP_SECTORS + 1
        file.seek(fields[10] * SECTOR)
        file.write(entries)
        file.seek(last * SECTOR)
        file.write(_sealed(fields))


def _sealed(fields: list[int]) -> bytes:
    fields[3] = 0
    fields[3] = crc32(_HEADER.pack(*fields))
    return _HEADER.pack(*fields)


def boot_entries(entries: Mapping[str, bytes], *, disk: Path) -> tuple[Variable, ...]:
    """Boot entries for files of a disk's first partition, in order, with their load options.

    Args:
        entries: Load options by the file's path with backslashes.
        disk: The disk, which is at place 2 of the bus.

    Source: UEFI 2.10, 3.1.3 Load Options (EFI_LOAD_OPTION); 10.3 Device Path Nodes.
    """
    with disk.open("rb") as file:
        file.seek(2 * SECTOR)
        _, guid, first, last = struct.unpack("<16s16sQQ", file.read(48))
    order = struct.pack(f"<{len(entries)}H", *range(len(entries)))
    found = [Variable(vendor=GLOBAL, name="BootOrder", data=order, attributes=PLAIN)]
    for number, (path, options) in enumerate(entries.items()):
        where = _device_path(guid, first, last - first + 1, path)
        title = "entry\0".encode("utf-16-le")
        found.append(
            Variable(
                vendor=GLOBAL,
                name=f"Boot{number:04X}",
                data=struct.pack("<IH", 1, len(where)) + title + where + options,
                attributes=PLAIN,
            )
        )
    return tuple(found)


def _device_path(guid: bytes, first: int, sectors: int, path: str) -> bytes:
    name = (path + "\0").encode("utf-16-le")
    return b"".join(
        (
            struct.pack("<BBHII", 2, 1, 12, 0x0A0341D0, 0),  # PciRoot(0x0)
            struct.pack("<BBHBB", 1, 1, 6, 0, 2),  # Pci(0x2,0x0)
            struct.pack("<BBHIQQ16sBB", 4, 1, 42, 1, first, sectors, guid, 2, 2),  # HD(1,GPT,…)
            struct.pack("<BBH", 4, 4, 4 + len(name)) + name,
            struct.pack("<BBH", 0x7F, 0xFF, 4),
        )
    )
