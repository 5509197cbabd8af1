"""Partitions of a disk, from its GUID partition table.

Nothing read here is trusted: what is found names a disk, and that name goes into PCR 15 before a
byte of the disk is used. The checks only make a broken disk fail early, with a reason.

Source: UEFI Specification 2.10, section 5.3 (GUID Partition Table disk layout).
"""

import struct
import uuid
import zlib
from dataclasses import dataclass
from typing import BinaryIO

from os_image.guest.errors import TableError

_HEADER = struct.Struct("<8s4sIIIQQQQ16sQIII")
"""Signature, revision, header size, CRC, reserved, own LBA, other LBA, first and last usable LBA,
disk GUID, LBA of the entries, number of entries, size of an entry, CRC of the entries."""
_ENTRY = struct.Struct("<16s16sQQQ72s")
"""Type GUID, partition GUID, first LBA, last LBA (inclusive), attributes, name in UTF-16LE."""
_SIGNATURE = b"EFI PART"
_UNUSED = bytes(16)
_MAXIMUM_ENTRIES = 128
_MAXIMUM_LBA = 1 << 32


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """One used entry of the table."""

    number: int
    """Position in the table from 1: the kernel's partition number."""
    name: str
    guid: uuid.UUID
    """The partition's own GUID (PARTUUID), not its type."""
    size_bytes: int


def read_partitions(disk: BinaryIO, *, sector_size: int = 512) -> tuple[Partition, ...]:
    """The used entries of the primary table of `disk`, in table order.

    Raises:
        TableError: There is no table, or a size or checksum in it is wrong.
    """
    header = _read_at(disk, sector_size, _HEADER.size)
    fields = _HEADER.unpack(header)
    if fields[0] != _SIGNATURE:
        raise TableError("partition table: expected the signature 'EFI PART', got something else")
    if fields[2] != _HEADER.size:
        raise TableError(f"partition table: expected a header of 92 bytes, got {fields[2]}")
    blanked = header[:16] + bytes(4) + header[20:]
    if zlib.crc32(blanked) != fields[3]:
        raise TableError("partition table: the header's checksum does not fit its bytes")
    entries_lba, count, size, entries_crc = fields[10:14]
    if size != _ENTRY.size or count > _MAXIMUM_ENTRIES:
        raise TableError(
            f"partition table: expected at most 128 entries of 128 bytes, got {count} of {size}"
        )
    if entries_lba > _MAXIMUM_LBA:
        raise TableError(f"partition table: expected entries near its header, got {entries_lba}")
    entries = _read_at(disk, entries_lba * sector_size, count * size)
    if zlib.crc32(entries) != entries_crc:
        raise TableError("partition table: the checksum of the entries does not fit their bytes")
    used = enumerate(_ENTRY.iter_unpack(entries), start=1)
    return tuple(_partition(n, raw, sector_size) for n, raw in used if raw[0] != _UNUSED)


def _partition(
    number: int, raw: tuple[bytes, bytes, int, int, int, bytes], sector_size: int
) -> Partition:
    _, guid, first, last, _, name = raw
    if last < first:
        raise TableError(f"partition {number}: expected it to end after {first}, got {last}")
    try:
        text = name.decode("utf-16-le").split("\0", 1)[0]
    except UnicodeDecodeError as error:
        raise TableError(f"partition {number}: its name is not UTF-16") from error
    return Partition(
        number=number,
        name=text,
        guid=uuid.UUID(bytes_le=guid),
        size_bytes=(last - first + 1) * sector_size,
    )


def _read_at(disk: BinaryIO, offset: int, size: int) -> bytes:
    disk.seek(offset)
    data = disk.read(size)
    if len(data) != size:
        raise TableError(f"partition table: expected {size} bytes at {offset}, got {len(data)}")
    return data
