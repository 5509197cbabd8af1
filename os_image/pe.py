"""PE images: their sections, and the digest that firmware measures when it loads one.

The builder reads back with this what it made, and the prediction of PCR 4 and PCR 11 starts from
it, so that both speak about the same bytes.

Source: Microsoft PE/COFF specification, sections 2.5 to 4; "Windows Authenticode Portable
Executable Signature Format" (2008), "Calculating the PE Image Hash"; EDK II,
DxeTpm2MeasureBootLib, MeasurePeImageAndExtend.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from hashlib import sha256

from supply_chain.digest import Sha256
from supply_chain.errors import BuildError

_PE_OFFSET = 0x3C
"""Where the DOS header keeps the offset of the PE signature (u32)."""
_COFF_HEADER_SIZE = 20
_SECTION_HEADER = struct.Struct("<8sIIII16x")
_PE32_PLUS = 0x20B
_CHECKSUM_OFFSET = 64
"""Offset of CheckSum (u32) in the optional header; it is no part of the digest."""
_DIRECTORY_COUNT_OFFSET = 108
_CERTIFICATE_DIRECTORY_OFFSET = 112 + 4 * 8
"""Offset of the fifth data directory (u32 file offset, u32 size) in a PE32+ optional header."""
_DIRECTORY_ENTRY_SIZE = 8


class PeFormatError(BuildError):
    """The bytes are not a PE32+ image that can be measured."""

    code = "pe.malformed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One section of a PE image."""

    name: str
    """Up to eight ASCII characters, e.g. `.linux`."""
    virtual_address: int
    """Where the loader puts it, relative to the image base, in bytes."""
    content: bytes
    """What is in memory after loading: `VirtualSize` bytes, zeroes where the file holds fewer."""
    raw_offset: int
    """Where it begins in the file, in bytes."""
    raw_size: int
    """How many bytes the file holds for it, padding to the file alignment included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Headers:
    optional_offset: int
    headers_size: int
    certificate_size: int
    has_certificate_directory: bool
    section_table: tuple[tuple[bytes, int, int, int, int], ...]


def sections(pe: bytes) -> tuple[Section, ...]:
    """Return the sections of a PE32+ image, in the order of its section table.

    Args:
        pe: The whole file.

    Raises:
        PeFormatError: A header is missing, cut off or points outside the file.
    """
    found = []
    for name, virtual_size, virtual_address, raw_size, raw_offset in _read_headers(
        pe
    ).section_table:
        held = pe[raw_offset : raw_offset + min(raw_size, virtual_size)]
        found.append(
            Section(
                name=name.rstrip(b"\0").decode("ascii", errors="backslashreplace"),
                virtual_address=virtual_address,
                content=held.ljust(virtual_size, b"\0"),
                raw_offset=raw_offset,
                raw_size=raw_size,
            )
        )
    return tuple(found)


def section(pe: bytes, name: str) -> Section:
    """Return the one section called `name`.

    Raises:
        PeFormatError: There is none, or more than one.
    """
    found = [candidate for candidate in sections(pe) if candidate.name == name]
    if len(found) != 1:
        raise PeFormatError(f"PE section {name}: expected exactly one, got {len(found)}")
    return found[0]


def authenticode_sha256(pe: bytes) -> Sha256:
    """Return the Authenticode SHA-256 digest of a PE32+ image.

    This is the digest of the `EV_EFI_BOOT_SERVICES_APPLICATION` event in PCR 4: the file without
    its checksum, its certificate table and the directory entry that points there.

    Args:
        pe: The whole file.

    Raises:
        PeFormatError: A header is missing, cut off or points outside the file.
    """
    headers = _read_headers(pe)
    checksum = headers.optional_offset + _CHECKSUM_OFFSET
    digest = sha256(pe[:checksum])
    position = checksum + 4
    if headers.has_certificate_directory:
        entry = headers.optional_offset + _CERTIFICATE_DIRECTORY_OFFSET
        digest.update(pe[position:entry])
        position = entry + _DIRECTORY_ENTRY_SIZE
    digest.update(pe[position : headers.headers_size])
    hashed_bytes = headers.headers_size
    for _name, _vsize, _vaddr, raw_size, raw_offset in sorted(
        headers.section_table, key=lambda row: row[4]
    ):
        digest.update(pe[raw_offset : raw_offset + raw_size])
        hashed_bytes += raw_size
    digest.update(pe[hashed_bytes : len(pe) - headers.certificate_size])
    return Sha256(digest.digest())


def _read_headers(pe: bytes) -> _Headers:
    if pe[:2] != b"MZ":
        raise PeFormatError(f"PE image: expected the DOS signature 'MZ', got {pe[:2]!r}")
    try:
        return _parse_headers(pe)
    except struct.error as exc:
        raise PeFormatError(f"PE image: a header is cut off, the file has {len(pe)} bytes") from exc


def _parse_headers(pe: bytes) -> _Headers:
    (pe_offset,) = struct.unpack_from("<I", pe, _PE_OFFSET)
    if pe[pe_offset : pe_offset + 4] != b"PE\0\0":
        got = pe[pe_offset : pe_offset + 4]
        raise PeFormatError(f"PE image: expected the signature 'PE' at {pe_offset:#x}, got {got!r}")
    coff = pe_offset + 4
    section_count, optional_size = struct.unpack_from("<2xH12xH", pe, coff)
    optional = coff + _COFF_HEADER_SIZE
    magic, headers_size = struct.unpack_from("<H58xI", pe, optional)
    if magic != _PE32_PLUS:
        raise PeFormatError(
            f"PE image: expected a PE32+ optional header ({_PE32_PLUS:#x}), got {magic:#x}"
        )
    (directory_count,) = struct.unpack_from("<I", pe, optional + _DIRECTORY_COUNT_OFFSET)
    has_certificates = directory_count > 4  # the certificate table is the fifth
    certificate_size = (
        struct.unpack_from("<4xI", pe, optional + _CERTIFICATE_DIRECTORY_OFFSET)[0]
        if has_certificates
        else 0
    )
    table = tuple(
        _SECTION_HEADER.unpack_from(pe, optional + optional_size + index * 40)[:5]
        for index in range(section_count)
    )
    for name, _virtual_size, _virtual_address, raw_size, raw_offset in table:
        if raw_offset + raw_size > len(pe):
            raise PeFormatError(
                f"PE section {name!r}: ends at {raw_offset + raw_size}, "
                f"but the file has {len(pe)} bytes"
            )
    return _Headers(
        optional_offset=optional,
        headers_size=headers_size,
        certificate_size=certificate_size,
        has_certificate_directory=has_certificates,
        section_table=table,
    )
