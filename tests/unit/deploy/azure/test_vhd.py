from __future__ import annotations

import struct

import pytest

from deploy.azure import vhd
from deploy.azure.errors import AzureError, Reason
from supply_chain.digest import sha256_bytes

# The first 68 bytes that `qemu-img convert -O vpc -o subformat=fixed,force_size=on` (7.2.22) puts
# behind an image of 20 MiB and of 1 GiB; the time, and what is left out here, are chance there.
QEMU = {
    20 << 20: (
        "636f6e6563746978 00000002 00010000 ffffffffffffffff 32992371 71656d32 00050003 5769326b"
        "0000000001400000 0000000001400000 ffff10ff 00000002 ffffe4ed"
        "91ce3cd091d740aaabb28ad9004d2204"
    ),
    1 << 30: (
        "636f6e6563746978 00000002 00010000 ffffffffffffffff 32992371 71656d32 00050003 5769326b"
        "0000000040000000 0000000040000000 ffff10ff 00000002 ffffe654"
        "1f60106a13e847e78d5d852b4c8da551"
    ),
}
TIME, CHECKSUM, IDENTIFIER = slice(24, 28), slice(64, 68), slice(68, 84)
DIGEST = sha256_bytes(b"an image")


def checksum(footer: bytes) -> int:
    return ~(sum(footer) - sum(footer[CHECKSUM])) & 0xFFFF_FFFF


@pytest.mark.parametrize("size", QEMU)
def test_all_but_time_and_identifier_is_what_qemu_writes(size: int) -> None:
    theirs = bytes.fromhex(QEMU[size]).ljust(512, b"\0")
    ours = bytearray(vhd.footer(size, DIGEST))
    assert len(ours) == vhd.FOOTER_BYTES
    for chance in (TIME, CHECKSUM, IDENTIFIER):
        ours[chance] = theirs[chance]
    assert bytes(ours) == theirs
    # And the rule by which ours is summed is the one by which theirs was.
    assert struct.unpack(">I", theirs[CHECKSUM])[0] == checksum(theirs)


def test_time_and_identifier_are_inputs_and_covered_by_the_sum() -> None:
    footer = vhd.footer(1 << 30, DIGEST)
    # 2026-01-01, 9497 days after 2000-01-01.
    assert struct.unpack(">I", footer[TIME])[0] == 820540800
    assert footer[IDENTIFIER] == DIGEST.bytes[:16]
    assert struct.unpack(">I", footer[CHECKSUM])[0] == checksum(footer)
    assert footer == vhd.footer(1 << 30, DIGEST)
    assert footer != vhd.footer(1 << 30, sha256_bytes(b"another"))


@pytest.mark.parametrize(
    ("image", "disk"),
    [
        (1, 20 << 20),
        (20 << 20, 20 << 20),
        ((20 << 20) + 1, 21 << 20),
        (1 << 30, 1 << 30),
        (32767 << 30, 32767 << 30),
    ],
)
def test_a_disk_is_whole_mib_and_azure_s_least(image: int, disk: int) -> None:
    assert vhd.disk_bytes(image) == disk
    assert vhd.upload_bytes(image) == disk + 512


def test_no_disk_is_larger_than_azure_s_most() -> None:
    with pytest.raises(AzureError) as caught:
        vhd.upload_bytes((32767 << 30) + 1)
    assert caught.value.reason is Reason.SIZE
