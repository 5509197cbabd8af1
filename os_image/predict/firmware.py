"""What the prediction needs to know of OVMF: its two inner volumes and its empty variable store.

OVMF's code image holds one compressed file; inside it are the PEI and the DXE firmware volume,
which the security phase unpacks to fixed addresses and the PEI phase measures there.

Source: UEFI Platform Initialization 1.7, Volume 3, EFI_FIRMWARE_VOLUME_HEADER,
EFI_FFS_FILE_HEADER, EFI_COMMON_SECTION_HEADER, EFI_SECTION_GUID_DEFINED; EDK II,
OvmfPkg/Sec/SecMain.c (DecompressMemFvs) and MdeModulePkg VariableFormat.h.
"""

from __future__ import annotations

import lzma
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from os_image.predict.bank import PredictionError

if TYPE_CHECKING:
    from collections.abc import Iterator

_VOLUME = struct.Struct("<16x16sQ4s4xHxxH")
"""Zero vector, file system, length, signature, header length, extension header's offset."""
_VOLUME_SIGNATURE = b"_FVH"
_FILE = struct.Struct("<16sHBB3sB")
"""Name, integrity check, type, attributes, size with header (u24), state."""
_FILE_VOLUME_IMAGE = 0x0B
_SECTION_GUID_DEFINED = 0x02
_SECTION_VOLUME_IMAGE = 0x17
_LZMA = UUID("ee4e5898-3914-4259-9d6e-dc7bd79403cf")
_VARIABLE_STORE = UUID("aaf32c78-947b-439a-a180-2e144ec37792")
"""An authenticated variable store, the kind that Secure Boot needs."""
_VARIABLE_STORE_HEADER = struct.Struct("<16sIBB6x")
_ERASED = 0xFF


@dataclass(frozen=True, slots=True, kw_only=True)
class FirmwareVolumes:
    """The two volumes that OVMF measures into PCR 0, as they are before any of their code runs."""

    pei: bytes
    """Early initialisation; its modules write into it before it is measured."""
    dxe: bytes
    """Drivers and boot manager; measured exactly as it is here."""


def parse_firmware(code: bytes) -> FirmwareVolumes:
    """The inner volumes of an OVMF code image (`OVMF_CODE*.fd`).

    Raises:
        PredictionError: It is not built like OVMF.
    """
    try:
        for content in _compressed_files(code):
            inner = _section_of(content, _SECTION_GUID_DEFINED)
            guid, data_offset = struct.unpack_from("<16sH", inner, 0)
            if UUID(bytes_le=guid) != _LZMA:
                continue
            # The offset counts from the section's header, which is 4 bytes long here.
            unpacked = lzma.decompress(inner[data_offset - 4 :], format=lzma.FORMAT_ALONE)
            volumes = [body for kind, body in _sections(unpacked) if kind == _SECTION_VOLUME_IMAGE]
            if len(volumes) == 2:
                return FirmwareVolumes(pei=volumes[0], dxe=volumes[1])
    except (struct.error, lzma.LZMAError) as exc:
        raise PredictionError(f"firmware code: a structure is cut off or damaged: {exc}") from exc
    raise PredictionError(
        "firmware code: expected a compressed file with two firmware volumes, got none"
    )


def check_empty_variables(store: bytes) -> None:
    """Nothing, when a variable store (`OVMF_VARS*.fd`) holds no variable, as after a reset.

    A key enrolled there would switch Secure Boot on, and a boot entry would be followed; both are
    measured, so a prediction holds for the empty store only.

    Raises:
        PredictionError: It holds a variable, or is no variable store.
    """
    first, _ = variables_span(store)
    if store[first : first + 2] != bytes([_ERASED, _ERASED]):
        raise PredictionError("firmware variables: expected an empty store, got a variable in it")


def variables_span(store: bytes) -> tuple[int, int]:
    """Where in a variable store its variables are: the first byte, and the first after them.

    Raises:
        PredictionError: It is no store for authenticated variables.
    """
    try:
        _, _, signature, header_length, _ = _VOLUME.unpack_from(store)
        guid, size, _, _ = _VARIABLE_STORE_HEADER.unpack_from(store, header_length)
    except struct.error as exc:
        raise PredictionError(f"firmware variables: the header is cut off: {exc}") from exc
    if signature != _VOLUME_SIGNATURE or UUID(bytes_le=guid) != _VARIABLE_STORE:
        raise PredictionError("firmware variables: expected an authenticated store, got another")
    return header_length + _VARIABLE_STORE_HEADER.size, header_length + size


def _compressed_files(code: bytes) -> Iterator[bytes]:
    """Contents of the files of the outer volume that hold volumes."""
    _, length, signature, header_length, extension = _VOLUME.unpack_from(code)
    if signature != _VOLUME_SIGNATURE:
        raise PredictionError(f"firmware code: expected a volume, got signature {signature!r}")
    offset = header_length
    if extension:
        offset = extension + struct.unpack_from("<16xI", code, extension)[0]
    while (offset := -(-offset // 8) * 8) + _FILE.size <= length:
        _, _, kind, _, size, _ = _FILE.unpack_from(code, offset)
        size_bytes = int.from_bytes(size, "little")
        if size_bytes < _FILE.size or size == b"\xff\xff\xff":
            return
        if kind == _FILE_VOLUME_IMAGE:
            yield code[offset + _FILE.size : offset + size_bytes]
        offset += size_bytes


def _sections(content: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and body of each section, in order; sections begin at multiples of four."""
    offset = 0
    while offset + 4 <= len(content):
        size = int.from_bytes(content[offset : offset + 3], "little")
        kind, header = content[offset + 3], 4
        if size == 0xFFFFFF:
            (size,) = struct.unpack_from("<I", content, offset + 4)
            header = 8
        if size < header:
            raise PredictionError(f"firmware section: expected a size, got {size}")
        yield kind, content[offset + header : offset + size]
        offset += -(-size // 4) * 4


def _section_of(content: bytes, kind: int) -> bytes:
    for found, body in _sections(content):
        if found == kind:
            return body
    raise PredictionError(f"firmware file: expected a section of type {kind:#x}, got none")
