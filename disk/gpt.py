"""GUID partition tables, written byte for byte: the firmware measures them into PCR 5.

Source: UEFI Specification 2.10, chapter 5 (GUID Partition Table Disk Layout), tables 5.5 to 5.6.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO
from uuid import UUID
from zlib import crc32

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SECTOR_BYTES = 512
ALIGNMENT_BYTES = 1 << 20
"""Partitions begin and the disk ends on whole MiB; Azure demands it of a disk."""
HEADER_BYTES = 92
ENTRY_BYTES = 128
ENTRY_COUNT = 128
NAME_CHARACTERS = 36
"""UTF-16 code units that an entry's name field holds."""

ESP_TYPE = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
ROOT_X86_64_TYPE = UUID("4f68bce3-e8cd-4db1-96e7-fbcaf984b709")
ROOT_VERITY_X86_64_TYPE = UUID("2c7357ed-ebd2-46d9-aec1-23d437ec2bf5")
LINUX_DATA_TYPE = UUID("0fc63daf-8483-4772-8e79-3d69d8477de4")

_COPY_BYTES = 1 << 20
_ENTRY_ARRAY_SECTORS = ENTRY_BYTES * ENTRY_COUNT // SECTOR_BYTES
_FIRST_USABLE_LBA = 2 + _ENTRY_ARRAY_SECTORS
_HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")


class PartitionTableError(BuildError):
    """The partitions asked for cannot be put into a GUID partition table."""

    code = "disk.gpt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """A partition to be written."""

    name: str
    """Its label, at most 36 UTF-16 code units; Linux shows it as PARTNAME."""
    type_guid: UUID
    """What kind of partition it is."""
    guid: UUID
    """Its own identity, PARTUUID; its text form is what Linux shows."""
    source: Path
    """The image that it holds; padded with zeroes to whole sectors."""

    def __post_init__(self) -> None:
        """Refuse a name that does not fit."""
        if len(self.name.encode("utf-16-le")) > 2 * NAME_CHARACTERS:
            raise PartitionTableError(
                f"partition name: expected at most {NAME_CHARACTERS} UTF-16 code units, "
                f"got {self.name!r}"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """Where a partition lies on its disk."""

    name: str
    """The partition's label."""
    guid: UUID
    """Its PARTUUID."""
    offset_bytes: int
    """Its first byte on the disk."""
    size_bytes: int
    """Its length, whole sectors."""


def verity_partition_guids(root_hash: bytes) -> tuple[UUID, UUID]:
    """Return the PARTUUIDs of a verity pair: the halves of its root hash, as they are read as text.

    Whoever holds the root hash can find both partitions by it.

    Args:
        root_hash: The 32 bytes of the dm-verity root hash.
    """
    return UUID(bytes=root_hash[:16]), UUID(bytes=root_hash[16:])


def write_gpt(disk: Path, partitions: Sequence[Partition], disk_guid: UUID) -> tuple[Extent, ...]:
    """Write a disk image with the partitions in this order, and return where each of them lies.

    Unused space is a hole in the file, which reads as zeroes.

    Args:
        disk: The file to write; an existing one is replaced.
        partitions: At most 128 of them.
        disk_guid: The identity of the disk.

    Raises:
        PartitionTableError: There are too many, or two have the same identity.
    """
    _check(partitions)
    extents = _place(partitions)
    end = extents[-1].offset_bytes + extents[-1].size_bytes if extents else ALIGNMENT_BYTES
    backup_bytes = (_ENTRY_ARRAY_SECTORS + 1) * SECTOR_BYTES
    disk_bytes = _round_up(end + backup_bytes, ALIGNMENT_BYTES)
    last_lba = disk_bytes // SECTOR_BYTES - 1
    entries = _entry_array(partitions, extents)
    with disk.open("wb") as out:
        out.truncate(disk_bytes)
        out.write(_protective_mbr(last_lba))
        out.write(_header(disk_guid, entries, lba=1, other_lba=last_lba, entries_lba=2))
        out.seek(2 * SECTOR_BYTES)
        out.write(entries)
        for partition, extent in zip(partitions, extents, strict=True):
            _copy(partition.source, out, extent.offset_bytes)
        backup_entries_lba = last_lba - _ENTRY_ARRAY_SECTORS
        out.seek(backup_entries_lba * SECTOR_BYTES)
        out.write(entries)
        out.write(
            _header(disk_guid, entries, lba=last_lba, other_lba=1, entries_lba=backup_entries_lba)
        )
    return extents


def read_gpt(disk: Path) -> tuple[Extent, ...]:
    """Return where the partitions of a disk lie, as its primary table says; empty without one."""
    with disk.open("rb") as image:
        image.seek(SECTOR_BYTES)
        header = image.read(HEADER_BYTES)
        if len(header) < HEADER_BYTES or not header.startswith(b"EFI PART"):
            return ()
        fields = _HEADER.unpack(header)
        image.seek(fields[10] * SECTOR_BYTES)
        array = image.read(min(fields[11], ENTRY_COUNT) * ENTRY_BYTES)
    return tuple(
        _extent(array[at : at + ENTRY_BYTES])
        for at in range(0, len(array) - ENTRY_BYTES + 1, ENTRY_BYTES)
        if any(array[at : at + 16])
    )


def _extent(entry: bytes) -> Extent:
    first, last = struct.unpack_from("<QQ", entry, 32)
    return Extent(
        name=entry[56:].decode("utf-16-le", errors="replace").rstrip("\0"),
        guid=UUID(bytes_le=entry[16:32]),
        offset_bytes=first * SECTOR_BYTES,
        size_bytes=(last + 1 - first) * SECTOR_BYTES,
    )


def _check(partitions: Sequence[Partition]) -> None:
    if len(partitions) > ENTRY_COUNT:
        raise PartitionTableError(
            f"partition table: expected at most {ENTRY_COUNT} partitions, got {len(partitions)}"
        )
    if len({partition.guid for partition in partitions}) != len(partitions):
        raise PartitionTableError(
            "partition table: expected a different GUID for each partition, got one twice"
        )


def _place(partitions: Sequence[Partition]) -> tuple[Extent, ...]:
    extents = []
    offset = ALIGNMENT_BYTES
    for partition in partitions:
        size = _round_up(partition.source.stat().st_size, SECTOR_BYTES)
        extents.append(
            Extent(name=partition.name, guid=partition.guid, offset_bytes=offset, size_bytes=size)
        )
        offset = _round_up(offset + size, ALIGNMENT_BYTES)
    return tuple(extents)


def _entry_array(partitions: Sequence[Partition], extents: Sequence[Extent]) -> bytes:
    array = bytearray()
    for partition, extent in zip(partitions, extents, strict=True):
        first = extent.offset_bytes // SECTOR_BYTES
        array += partition.type_guid.bytes_le + partition.guid.bytes_le
        array += struct.pack("<QQQ", first, first + extent.size_bytes // SECTOR_BYTES - 1, 0)
        array += partition.name.encode("utf-16-le").ljust(2 * NAME_CHARACTERS, b"\0")
    return bytes(array).ljust(ENTRY_BYTES * ENTRY_COUNT, b"\0")


def _header(
    disk_guid: UUID, entries: bytes, *, lba: int, other_lba: int, entries_lba: int
) -> bytes:
    last_usable_lba = max(lba, other_lba) - _ENTRY_ARRAY_SECTORS - 1

    def packed(checksum: int) -> bytes:
        return _HEADER.pack(
            b"EFI PART",
            0x00010000,
            HEADER_BYTES,
            checksum,
            0,
            lba,
            other_lba,
            _FIRST_USABLE_LBA,
            last_usable_lba,
            disk_guid.bytes_le,
            entries_lba,
            ENTRY_COUNT,
            ENTRY_BYTES,
            crc32(entries),
        )

    return packed(crc32(packed(0))).ljust(SECTOR_BYTES, b"\0")


def _protective_mbr(last_lba: int) -> bytes:
    # One partition of type EE over the whole disk keeps tools that know only MBR away from it.
    record = struct.pack(
        "<B3sB3sII", 0, b"\x00\x02\x00", 0xEE, b"\xff\xff\xff", 1, min(last_lba, 0xFFFFFFFF)
    )
    return (bytes(446) + record).ljust(SECTOR_BYTES - 2, b"\0") + b"\x55\xaa"


def _copy(source: Path, out: BinaryIO, offset_bytes: int) -> None:
    out.seek(offset_bytes)
    with source.open("rb") as image:
        while piece := image.read(_COPY_BYTES):
            out.write(piece)


def _round_up(value: int, unit: int) -> int:
    return -(-value // unit) * unit
