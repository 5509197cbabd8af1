"""The footer that makes a raw image a fixed VHD, which is what Azure takes as a disk.

A fixed VHD is the image, then 512 bytes. Nothing is converted and no .vhd is ever written: the
uploader sends the image's pages and this footer. What other tools take from a clock and from
randomness is an input here, so the same image always becomes the same VHD.

Source: Microsoft, Virtual Hard Disk Image Format Specification, 1.0, "Hard Disk Footer Format".
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from deploy.azure.errors import AzureError, Reason
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from supply_chain.digest import Sha256

FOOTER_BYTES = 512
MIB = 1 << 20
LEAST_BYTES = 20 * MIB
"""The smallest disk that Azure makes."""
MOST_BYTES = 32767 << 30
"""The largest one; `uploadSizeBytes` is at most this and the footer."""

_VHD_EPOCH = 946684800
"""2000-01-01T00:00:00Z, from which the format counts seconds."""
_LAYOUT = struct.Struct(">8sIIQI4sI4sQQHBBII16sB427x")
_RESERVED, _VERSION, _NO_OFFSET = 2, 0x0001_0000, (1 << 64) - 1
_FIXED = 2
_CREATOR, _CREATOR_VERSION, _HOST = b"qem2", 0x0005_0003, b"Wi2k"
"""Who made it. Readers take the size from the geometry, which cannot say it, unless they know the
creator as one that does not mean that: so it is QEMU's `force_size`."""
_CYLINDERS, _HEADS, _SECTORS = 65535, 16, 255
"""The geometry that means none."""


def disk_bytes(image_bytes: int) -> int:
    """The size of the disk that holds an image: whole MiB, and no smaller than Azure's least.

    Raises:
        AzureError: No disk of Azure is so large.
    """
    size = max(-(-image_bytes // MIB) * MIB, LEAST_BYTES)
    if size > MOST_BYTES:
        raise AzureError(
            Reason.SIZE, f"image: expected {MOST_BYTES} bytes at most, got {image_bytes}"
        )
    return size


def upload_bytes(image_bytes: int) -> int:
    """The size of the whole VHD: what `uploadSizeBytes` of a managed disk says."""
    return disk_bytes(image_bytes) + FOOTER_BYTES


def footer(image_bytes: int, digest: Sha256) -> bytes:
    """The last 512 bytes of the VHD.

    Args:
        image_bytes: The size of the image.
        digest: The image's digest, of which the disk's identifier is made.
    """
    size = disk_bytes(image_bytes)
    fields = [
        b"conectix",
        _RESERVED,
        _VERSION,
        _NO_OFFSET,
        EPOCH - _VHD_EPOCH,
        _CREATOR,
        _CREATOR_VERSION,
        _HOST,
        size,
        size,
        _CYLINDERS,
        _HEADS,
        _SECTORS,
        _FIXED,
        0,
        digest.bytes[:16],
        0,
    ]
    # The checksum is the complement of the sum of all bytes, with its own four as zero.
    fields[14] = ~sum(_LAYOUT.pack(*fields)) & 0xFFFF_FFFF
    return _LAYOUT.pack(*fields)
