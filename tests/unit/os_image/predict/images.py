"""Small images built by hand: enough structure for what is tested, and nothing to boot."""

from __future__ import annotations

import lzma
import struct
from typing import TYPE_CHECKING
from uuid import UUID

if TYPE_CHECKING:
    from pathlib import Path

LZMA = UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf")
VARIABLE_STORE = UUID("aaf32c78-947b-439a-a180-2e144ec37792")


def firmware_section(kind: int, body: bytes) -> bytes:
    data = struct.pack("<I", len(body) + 4 | kind << 24) + body
    return data.ljust(-(-len(data) // 4) * 4, b"\0")


def firmware_volume(body: bytes) -> bytes:
    header = struct.pack("<16x16sQ4sIHHHBB", b"\1" * 16, 72 + len(body), b"_FVH", 0, 72, 0, 0, 0, 2)
    return header.ljust(72, b"\0") + body


def firmware_file(kind: int, body: bytes) -> bytes:
    size = (24 + len(body)).to_bytes(3, "little")
    data = struct.pack("<16sHBB3sB", b"\2" * 16, 0, kind, 0, size, 0xF8) + body
    return data.ljust(-(-len(data) // 8) * 8, b"\0")


def firmware_code(*volumes: bytes, guid: UUID = LZMA) -> bytes:
    inner = b"".join(firmware_section(0x17, part) for part in volumes)
    packed = lzma.compress(inner, format=lzma.FORMAT_ALONE)
    guided = firmware_section(0x02, struct.pack("<16sHH", guid.bytes_le, 24, 1) + packed)
    return firmware_volume(firmware_file(0xF0, b"padding") + firmware_file(0x0B, guided))


def variable_store(first: bytes = b"", guid: UUID = VARIABLE_STORE, *, room: int = 256) -> bytes:
    header = struct.pack("<16sIBB6x", guid.bytes_le, 28 + room, 0x5A, 0xFE)
    return firmware_volume(header + first.ljust(room, b"\xff"))


def make_pe(sections: dict[str, bytes]) -> bytes:
    """A small PE32+ image with these sections, enough for a firmware to measure."""
    alignment, header_size = 512, 1024
    table, body = b"", b""
    for name, content in sections.items():
        raw = content.ljust(-(-len(content) // alignment) * alignment, b"\0")
        table += struct.pack(
            "<8sIIII16x",
            name.encode(),
            len(content),
            0x1000 + len(body),
            len(raw),
            header_size + len(body),
        )
        body += raw
    dos = b"MZ".ljust(0x3C, b"\0") + struct.pack("<I", 0x40)
    coff = b"PE\0\0" + struct.pack("<HH12xHH", 0x8664, len(sections), 240, 0)
    optional = struct.pack("<H58xI", 0x20B, header_size).ljust(108, b"\0") + struct.pack("<I", 16)
    return (dos + coff + optional.ljust(240, b"\0") + table).ljust(header_size, b"\0") + body


def disk_with(tmp_path: Path, event_data: bytes) -> Path:
    """The disk whose table was measured, rebuilt from the event: header, count, used entries."""
    header, entries = event_data[:92], event_data[100:]
    (table_lba,) = struct.unpack_from("<Q", header, 72)
    assert table_lba == 2
    disk = tmp_path / "disk.img"
    disk.write_bytes(bytes(512) + header.ljust(512, b"\0") + entries.ljust(128 * 128, b"\0"))
    return disk
