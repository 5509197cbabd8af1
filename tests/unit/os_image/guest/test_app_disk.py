from __future__ import annotations

import hashlib
import io
import json
import struct
import uuid
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_image.guest.app_disk import AppDescriptor, find_app_disk, verity_argv
from os_image.guest.errors import DiskError, TableError
from os_image.guest.gpt import read_partitions

if TYPE_CHECKING:
    from pathlib import Path

ROOT_HASH = hashlib.sha256(b"a root hash").digest()
DATA_GUID = uuid.UUID(bytes=ROOT_HASH[:16])
TREE_GUID = uuid.UUID(bytes=ROOT_HASH[16:])


@dataclass(frozen=True, kw_only=True)
class Disk:
    """A disk as a test describes it, and the bytes and the sysfs of it."""

    name: str
    partitions: list[tuple[str, uuid.UUID, int]]
    """Name, GUID and sectors."""
    sectors: dict[int, int] = field(default_factory=dict)
    """What the kernel says about a partition's size, where it differs from the table."""

    def table(self) -> bytes:
        entries = bytearray(128 * 128)
        at = 2048
        for number, (name, guid, sectors) in enumerate(self.partitions):
            entry = struct.pack(
                "<16s16sQQQ72s",
                uuid.UUID(int=1).bytes_le,
                guid.bytes_le,
                at,
                at + sectors - 1,
                0,
                name.encode("utf-16-le"),
            )
            entries[number * 128 : number * 128 + 128] = entry
            at += sectors
        return bytes(512) + header(bytes(entries)) + bytes(entries)

    def plug(self, sysfs: Path, devices: Path) -> None:
        (devices / self.name).write_bytes(self.table())
        base = sysfs / self.name
        (base / "queue").mkdir(parents=True)
        (base / "queue" / "logical_block_size").write_text("512\n")
        (base / "uevent").write_text(f"DEVNAME={self.name}\nDEVTYPE=disk\n")
        for number, (name, _, sectors) in enumerate(self.partitions, start=1):
            part = base / f"{self.name}{number}"
            part.mkdir()
            (part / "partition").write_text(f"{number}\n")
            (part / "size").write_text(f"{self.sectors.get(number, sectors)}\n")
            (part / "uevent").write_text(f"DEVNAME={part.name}\nPARTN={number}\nPARTNAME={name}\n")
            (sysfs / part.name).symlink_to(part)


def header(entries: bytes, *, signature: bytes = b"EFI PART", count: int = 128) -> bytes:
    def pack(crc: int) -> bytes:
        return struct.pack(
            "<8s4sIIIQQQQ16sQIII",
            signature,
            b"\0\0\1\0",
            92,
            crc,
            0,
            1,
            99,
            34,
            90,
            uuid.UUID(int=7).bytes_le,
            2,
            count,
            128,
            zlib.crc32(entries),
        )

    return pack(zlib.crc32(pack(0))).ljust(512, b"\0")


def app_disk(name: str = "vdb", sectors: int = 80) -> Disk:
    return Disk(name=name, partitions=[("app", DATA_GUID, sectors), ("app-verity", TREE_GUID, 8)])


@pytest.fixture
def sysfs(tmp_path: Path) -> Path:
    (tmp_path / "sys").mkdir()
    return tmp_path / "sys"


@pytest.fixture
def devices(tmp_path: Path) -> Path:
    (tmp_path / "dev").mkdir()
    return tmp_path / "dev"


def test_the_descriptor_is_canonical_json() -> None:
    encoded = AppDescriptor(root_hash=ROOT_HASH, data_blocks=10).encode()
    assert encoded == (
        b'{"algorithm":"sha256","block_size":4096,"data_blocks":10,"root_hash":"'
        + ROOT_HASH.hex().encode()
        + b'","salt":"'
        + hashlib.sha256(b"blindllama app").hexdigest().encode()
        + b'"}'
    )


@pytest.mark.parametrize("name", ["vdb", "sda", "nvme0n1p"])
def test_the_disk_is_found_among_others(name: str, sysfs: Path, devices: Path) -> None:
    app_disk(name).plug(sysfs, devices)
    Disk(name="vda", partitions=[("esp", uuid.UUID(int=3), 8)]).plug(sysfs, devices)
    app_disk("loop0").plug(sysfs, devices)
    found = find_app_disk(sysfs, devices)
    assert found is not None
    assert found.data == devices / f"{name}1"
    assert found.tree == devices / f"{name}2"
    assert found.descriptor == AppDescriptor(root_hash=ROOT_HASH, data_blocks=10)


def test_no_disk_is_no_error_yet(sysfs: Path, devices: Path) -> None:
    Disk(name="vda", partitions=[("app", DATA_GUID, 8)]).plug(sysfs, devices)
    assert find_app_disk(sysfs, devices) is None


def test_verity_gets_the_measured_parameters_and_no_superblock(sysfs: Path, devices: Path) -> None:
    app_disk().plug(sysfs, devices)
    found = find_app_disk(sysfs, devices)
    assert found is not None
    argv = verity_argv(found, "app")
    words = json.loads(found.descriptor.encode())
    assert argv[1:6] == ["open", str(found.data), "app", str(found.tree), words["root_hash"]]
    assert set(argv[6:]) == {
        "--no-superblock",
        "--format=1",
        f"--hash={words['algorithm']}",
        f"--data-block-size={words['block_size']}",
        f"--hash-block-size={words['block_size']}",
        f"--data-blocks={words['data_blocks']}",
        f"--salt={words['salt']}",
        "--panic-on-corruption",
    }


def test_b4_a_second_disk_with_the_same_names_is_refused(sysfs: Path, devices: Path) -> None:
    app_disk("vdb").plug(sysfs, devices)
    app_disk("sdb").plug(sysfs, devices)
    with pytest.raises(DiskError, match="expected one partition named 'app', got sdb1, vdb1"):
        find_app_disk(sysfs, devices)


def test_b4_the_two_partitions_on_two_disks_are_refused(sysfs: Path, devices: Path) -> None:
    Disk(name="vdb", partitions=[("app", DATA_GUID, 8)]).plug(sysfs, devices)
    Disk(name="vdc", partitions=[("app-verity", TREE_GUID, 8)]).plug(sysfs, devices)
    with pytest.raises(DiskError, match="on one disk"):
        find_app_disk(sysfs, devices)


def test_a_table_that_contradicts_the_kernel_is_refused(sysfs: Path, devices: Path) -> None:
    disk = app_disk()
    Disk(name=disk.name, partitions=disk.partitions, sectors={1: 72}).plug(sysfs, devices)
    with pytest.raises(DiskError, match="got another table"):
        find_app_disk(sysfs, devices)


def test_a_size_that_is_not_whole_blocks_is_refused(sysfs: Path, devices: Path) -> None:
    app_disk(sectors=81).plug(sysfs, devices)
    with pytest.raises(DiskError, match="whole blocks"):
        find_app_disk(sysfs, devices)


@pytest.mark.parametrize(
    ("at", "why"),
    [
        (512, "signature"),
        (512 + 12, "92 bytes"),
        (512 + 16, "header's checksum"),
        (512 + 56, "header's checksum"),
        (1024 + 20, "checksum of the entries"),
    ],
)
def test_a_flipped_byte_of_the_table_is_refused(at: int, why: str) -> None:
    table = bytearray(app_disk().table())
    table[at] ^= 1
    with pytest.raises(TableError, match=why) as caught:
        read_partitions(io.BytesIO(table))
    assert caught.value.code == "guest.partition_table"


def test_too_many_entries_and_a_short_disk_are_refused() -> None:
    entries = bytes(129 * 128)
    with pytest.raises(TableError, match="at most 128"):
        read_partitions(io.BytesIO(bytes(512) + header(entries, count=129) + entries))
    with pytest.raises(TableError, match="got 0"):
        read_partitions(io.BytesIO(bytes(512)))


@given(st.binary(max_size=2048))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    with pytest.raises(TableError):
        read_partitions(io.BytesIO(bytes(512) + data))
