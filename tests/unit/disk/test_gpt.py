"""GUID partition tables: written here, read by the guest's own reader, which shares no code."""

from __future__ import annotations

import struct
from pathlib import Path
from uuid import UUID
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from disk import gpt
from disk.gpt import Partition, PartitionTableError, verity_partition_guids, write_gpt
from os_image.guest.gpt import read_partitions

DISK = UUID("00112233-4455-6677-8899-aabbccddeeff")
MIB = 1 << 20


def partition(folder: Path, name: str, size: int, number: int) -> Partition:
    source = folder / f"{number}.part"
    source.write_bytes(bytes([number]) * size)
    return Partition(name=name, type_guid=gpt.LINUX_DATA_TYPE, guid=UUID(int=number), source=source)


def test_the_guest_reads_what_was_written(tmp_path: Path) -> None:
    wanted = [partition(tmp_path, "app", 5000, 1), partition(tmp_path, "app-verity", 512, 2)]
    extents = write_gpt(tmp_path / "disk", wanted, DISK)
    with (tmp_path / "disk").open("rb") as disk:
        found = read_partitions(disk)
    assert [(p.name, p.guid, p.size_bytes) for p in found] == [
        ("app", UUID(int=1), 5120),
        ("app-verity", UUID(int=2), 512),
    ]
    assert [(e.offset_bytes, e.size_bytes) for e in extents] == [(MIB, 5120), (2 * MIB, 512)]
    data = (tmp_path / "disk").read_bytes()
    assert data[MIB : MIB + 5000] == b"\1" * 5000
    assert data[MIB + 5000 : 2 * MIB] == bytes(MIB - 5000)
    assert data[2 * MIB : 2 * MIB + 512] == b"\2" * 512


def test_both_headers_name_each_other_and_their_entries(tmp_path: Path) -> None:
    write_gpt(tmp_path / "disk", [partition(tmp_path, "root", 4096, 1)], DISK)
    data = (tmp_path / "disk").read_bytes()
    last = len(data) // 512 - 1
    for own, other, entries_lba in ((1, last, 2), (last, 1, last - 32)):
        header = data[own * 512 : own * 512 + 92]
        assert header[:8] == b"EFI PART"
        assert struct.unpack_from("<QQQQ", header, 24) == (own, other, 34, last - 33)
        assert header[56:72] == DISK.bytes_le
        lba, count, size, checksum = struct.unpack_from("<QIII", header, 72)
        assert (lba, count, size) == (entries_lba, 128, 128)
        assert checksum == crc32(data[lba * 512 : lba * 512 + 128 * 128])
        assert crc32(header[:16] + bytes(4) + header[20:]) == int.from_bytes(
            header[16:20], "little"
        )


def test_an_old_master_boot_record_protects_the_whole_disk(tmp_path: Path) -> None:
    write_gpt(tmp_path / "disk", [partition(tmp_path, "root", 4096, 1)], DISK)
    record = (tmp_path / "disk").read_bytes()[:512]
    assert record[446 + 4] == 0xEE
    assert struct.unpack_from("<II", record, 446 + 8) == (1, 2 * MIB // 512 - 1)
    assert record[510:] == b"\x55\xaa"


def test_a_second_disk_has_the_same_bytes_whatever_was_there_before(tmp_path: Path) -> None:
    wanted = [partition(tmp_path, "root", 70_000, 1)]
    write_gpt(tmp_path / "one", wanted, DISK)
    (tmp_path / "two").write_bytes(b"\xff" * 9 * MIB)
    write_gpt(tmp_path / "two", wanted, DISK)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_the_halves_of_a_root_hash_read_as_text() -> None:
    data, tree = verity_partition_guids(bytes(range(32)))
    assert data.hex + tree.hex == bytes(range(32)).hex()
    assert str(data) == "00010203-0405-0607-0809-0a0b0c0d0e0f"


def test_a_name_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PartitionTableError) as caught:
        partition(tmp_path, "x" * 37, 512, 1)
    assert caught.value.code == "disk.gpt"


@pytest.mark.parametrize("numbers", [[1, 1], range(129)])
def test_partitions_that_cannot_be_told_apart_or_listed_are_refused(
    tmp_path: Path, numbers: list[int]
) -> None:
    wanted = [partition(tmp_path, "x", 1, number % 128) for number in numbers]
    with pytest.raises(PartitionTableError) as caught:
        write_gpt(tmp_path / "disk", wanted, DISK)
    assert caught.value.code == "disk.gpt"
    assert not (tmp_path / "disk").exists()


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(min_value=1, max_value=3 * MIB), min_size=1, max_size=5))
def test_partitions_never_overlap_and_the_disk_ends_on_a_mib(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("gpt")
    wanted = []
    for number, size in enumerate(sizes, start=1):
        source = folder / str(number)
        with source.open("wb") as file:
            file.truncate(size)
        wanted.append(
            Partition(name="p", type_guid=gpt.LINUX_DATA_TYPE, guid=UUID(int=number), source=source)
        )
    extents = write_gpt(folder / "disk", wanted, DISK)
    end = MIB
    for extent, size in zip(extents, sizes, strict=True):
        assert extent.offset_bytes >= end
        assert extent.offset_bytes % MIB == 0
        assert 0 <= extent.size_bytes - size < 512
        end = extent.offset_bytes + extent.size_bytes
    disk_size = (folder / "disk").stat().st_size
    assert disk_size % MIB == 0
    assert disk_size - end >= 33 * 512
