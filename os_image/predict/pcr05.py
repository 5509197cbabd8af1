"""PCR 5: the partition table of the disk that is booted, and the hand-over to the kernel.

Extended by: OVMF. Bytes:
1. the separator;
2. the GPT: header (92 bytes), number of entries in use (u64), and these entries;
3. the text at the kernel's call of ExitBootServices, and
4. the text at its success.

Partition names and identifiers are in the entries, and those of the root partitions are the two
halves of the verity root hash: this register repeats what the kernel command line says.

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[5], UEFI_GPT_DATA and
EV_EFI_ACTION; UEFI 2.10, 5.3 GUID Partition Table; EDK II, SecurityPkg DxeTpm2MeasureBootLib
(Tcg2MeasureGptTable) and Tcg2Dxe.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from blindllama.measurements import Component
from os_image.predict.bank import FIRMWARE_PROFILE, Event, PredictionError, event_of, separator

if TYPE_CHECKING:
    from pathlib import Path

INDEX = 5

EXIT_CALLED = b"Exit Boot Services Invocation"
EXIT_RETURNED = b"Exit Boot Services Returned with Success"

_SECTOR = 512
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
_SIGNATURE = b"EFI PART"
_TYPE_GUID_SIZE = 16
_MAX_TABLE = 1 << 20


def gpt_event_data(disk: Path) -> bytes:
    """The UEFI_GPT_DATA of a disk image with sectors of 512 bytes.

    Raises:
        PredictionError: There is no GPT at the second sector.
    """
    with disk.open("rb") as file:
        file.seek(_SECTOR)
        header = file.read(_HEADER.size)
        if len(header) != _HEADER.size or not header.startswith(_SIGNATURE):
            raise PredictionError(f"{disk}: expected a GPT header, got {header[:8]!r}")
        table_lba, count, entry_size = _HEADER.unpack(header)[10:13]
        if entry_size < _TYPE_GUID_SIZE or count * entry_size > _MAX_TABLE:
            raise PredictionError(f"{disk}: GPT with {count} entries of {entry_size} bytes")
        file.seek(table_lba * _SECTOR)
        table = file.read(count * entry_size)
    entries = [table[at : at + entry_size] for at in range(0, len(table), entry_size)]
    used = [entry for entry in entries if any(entry[:_TYPE_GUID_SIZE])]
    return header + struct.pack("<Q", len(used)) + b"".join(used)


def events(disk: Path) -> tuple[Event, ...]:
    """The extends of PCR 5, in order.

    Args:
        disk: The image of the OS disk.

    Raises:
        PredictionError: It has no GPT.
    """
    action = f"{FIRMWARE_PROFILE}, EV_EFI_ACTION"
    return (
        separator(INDEX),
        event_of(
            INDEX,
            gpt_event_data(disk),
            what="partition table of the OS disk",
            source=f"{FIRMWARE_PROFILE}, EV_EFI_GPT_EVENT",
            component=Component.PARTITIONS,
        ),
        *(
            event_of(INDEX, text, what=what, source=action, component=Component.BOOT_STEPS)
            for text, what in (
                (EXIT_CALLED, "the kernel calls ExitBootServices"),
                (EXIT_RETURNED, "ExitBootServices succeeded"),
            )
        ),
    )
