"""The first difference of two builds that differ in one thing, in each kind of file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import pytest
from gguf import GGUFWriter
from numpy import arange, float32

from disk.erofs import build_erofs
from disk.fat import build_fat
from disk.gpt import LINUX_DATA_TYPE, Partition, write_gpt
from os_image.cpio import cpio_archive, file_entry
from reproduce.inside import first_difference
from reproduce.parts import Kit
from supply_chain.inputs.tree import Bind, Tree
from supply_chain.workspace import EPOCH
from tests.unit.os_image.predict.images import make_pe

IDENTITY = UUID("626c696e-646c-6c61-6d61-000000000000")


@pytest.fixture
def kit(tmp_path: Path) -> Kit:
    """A kit without tools: for files that are taken apart here."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    return Kit(scratch=scratch, tools=Tree(tmp_path / "no tools"))


def difference(one: Path, other: Path, kit: Kit) -> str:
    found = first_difference(one, other, "product", kit)
    assert found is not None
    return str(found)


def pair(tmp_path: Path, one: bytes, other: bytes) -> tuple[Path, Path]:
    paths = tmp_path / "one", tmp_path / "other"
    for path, data in zip(paths, (one, other), strict=True):
        path.write_bytes(data)
    return paths


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (b"a" * 3000, b"a" * 2999 + b"b", "at byte 2999: release b'a', rebuild b'b'"),
        (b"abc", b"ab", "at byte 2: release b'c', rebuild nothing: it ends there"),
        (b"\0" * (3 << 20), b"\0" * (2 << 20) + b"\1", "at byte 2097152:"),
    ],
    ids=["a byte", "shorter", "far behind"],
)
def test_bytes(tmp_path: Path, kit: Kit, one: bytes, other: bytes, said: str) -> None:
    assert said in difference(*pair(tmp_path, one, other), kit)


def test_equal_files_have_no_difference(tmp_path: Path, kit: Kit) -> None:
    assert first_difference(*pair(tmp_path, b"{}", b"{}"), "product", kit) is None


@pytest.mark.parametrize(
    ("one", "other", "said"),
    [
        (b'{"a":{"b":[1,2]}}', b'{"a":{"b":[1,3]}}', "product › /a/b/1: at byte 0: release b'2'"),
        (b'{"a":1,"b":2}', b'{"a":1}', "product › /b: in the release, and not in the rebuild"),
        (b'{"a":1}', b'{"a":1,"b":2}', "product › /b: in the rebuild, and not in the release"),
        (b'{"a":1,"b":2}', b'{"b":2,"a":1}', "the same parts in another order"),
        (b'{"a":1}', b'{"a": 1}', "product: at byte 5"),
        (b"{not json", b"{not yaml", "product: at byte 5"),
    ],
)
def test_json(tmp_path: Path, kit: Kit, one: bytes, other: bytes, said: str) -> None:
    assert said in difference(*pair(tmp_path, one, other), kit)


def test_a_section_of_a_kernel_image(tmp_path: Path, kit: Kit) -> None:
    sections = {".osrel": b"ID=guest", ".cmdline": b"quiet", ".linux": b"kernel"}
    one, other = make_pe(sections), make_pe(sections | {".cmdline": b"debug"})
    said = difference(*pair(tmp_path, one, other), kit)
    assert said == "product › section .cmdline: at byte 0: release b'quiet', rebuild b'debug'"


def test_a_member_of_an_archive_in_a_section(tmp_path: Path, kit: Kit) -> None:
    def kernel(script: bytes, *, executable: bool = True) -> bytes:
        init = file_entry("sbin/init", script, executable=executable)
        return make_pe({".initrd": cpio_archive([file_entry("etc/hostname", b"guest"), init])})

    said = difference(*pair(tmp_path, kernel(b"#!/bin/sh\n"), kernel(b"#!/bin/sh\nid\n")), kit)
    assert said.startswith("product › section .initrd › sbin/init: at byte 10: ")
    modes = difference(*pair(tmp_path, kernel(b"x"), kernel(b"x", executable=False)), kit)
    assert "sbin/init: release '-rwxr-xr-x 0:0', rebuild '-rw-r--r-- 0:0'" in modes


def test_a_tensor_and_a_value_of_a_model(tmp_path: Path, kit: Kit) -> None:
    def model(name: str, scale: float, licence: str = "apache-2.0") -> Path:
        writer = GGUFWriter(tmp_path / name, "llama")
        writer.add_license(licence)
        for tensor in ("blk.0.weight", "blk.1.weight"):
            factor = scale if tensor.startswith("blk.1") else 1.0
            writer.add_tensor(tensor, arange(32, dtype=float32) * float32(factor))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return tmp_path / name

    one = model("one", 1.0)
    # The first number is 0 in both, and of the second (1.0 and 3.0) the high bytes differ.
    assert "product › tensor blk.1.weight: at byte 6" in difference(one, model("two", 3.0), kit)
    other = model("three", 1.0, licence="mit-licence")
    assert "product › metadata general.license: " in difference(one, other, kit)


def test_a_deep_file_ends_the_search(tmp_path: Path, kit: Kit) -> None:
    def nested(core: bytes) -> bytes:
        for _ in range(20):
            core = cpio_archive([file_entry("inner", core)])
        return core

    said = difference(*pair(tmp_path, nested(b"one"), nested(b"two")), kit)
    assert said.count("inner") == 8
    assert "at byte" in said


class TestDisks:
    """With the locked tools: what they have made is taken apart by them."""

    @pytest.fixture
    def kit(self, tmp_path: Path, tools: Tree) -> Kit:
        scratch = tmp_path / "scratch"
        scratch.mkdir()
        return Kit(scratch=scratch, tools=tools)

    def disk(
        self, folder: Path, tools: Tree, change: Callable[[Path], object] = lambda _: None
    ) -> Path:
        """A disk with a FAT partition that holds a kernel, and an erofs partition."""
        root = folder / "root"
        (root / "etc").mkdir(parents=True)
        (root / "etc" / "hostname").write_text("guest\n")
        (root / "etc" / "motd").write_bytes(b"welcome\n" * 100)
        (root / "bin").symlink_to("usr/bin")
        for path in (root, root / "etc", root / "etc" / "motd"):
            path.chmod(0o755)
        kernel = folder / "kernel"
        packed = folder / "initrd"
        packed.write_bytes(cpio_archive([file_entry("init", b"#!/bin/sh\n")]))
        change(folder)
        done = tools.run(["zstd", "-q", "--stdout", "/in"], binds=[Bind(host=packed, inside="/in")])
        kernel.write_bytes(make_pe({".initrd": done.stdout}))
        build_erofs(root, folder / "erofs", tools=tools, uuid=IDENTITY, epoch=EPOCH)
        files = {"/EFI/BOOT/BOOTX64.EFI": kernel}
        build_fat(folder / "fat", files, tools=tools, volume_id=7)
        parts = (
            Partition(
                name="esp", type_guid=LINUX_DATA_TYPE, guid=UUID(int=1), source=folder / "fat"
            ),
            Partition(
                name="root", type_guid=LINUX_DATA_TYPE, guid=UUID(int=2), source=folder / "erofs"
            ),
        )
        write_gpt(folder / "disk", parts, UUID(int=3))
        return folder / "disk"

    @pytest.mark.root
    @pytest.mark.parametrize(
        ("change", "said"),
        [
            (
                lambda at: (at / "root/etc/motd").write_bytes(b"welcome\n" * 99 + b"goodbye\n"),
                "product › partition root › etc/motd: at byte 792: release b'welcome",
            ),
            (
                lambda at: (at / "root/etc/motd").chmod(0o4755),
                "root › etc/motd: release '-rwxr-xr-x 0:0', rebuild '-rwsr-xr-x 0:0'",
            ),
            (
                lambda at: os.chown(at / "root/etc/motd", 7, 8),
                "etc/motd: release '-rwxr-xr-x 0:0', rebuild '-rwxr-xr-x 7:8'",
            ),
            (
                lambda at: (at / "root/extra").write_text("more"),
                "partition root › extra: in the rebuild, and not in the release",
            ),
            (
                lambda at: (
                    (at / "root/bin").unlink(),
                    (at / "root/bin").symlink_to("/etc/shadow"),
                ),
                "-> usr/bin', rebuild 'lrwxrwxrwx 0:0 -> /etc/shadow'",
            ),
            (
                lambda at: (at / "initrd").write_bytes(
                    cpio_archive([file_entry("init", b"#!/bin/su\n")])
                ),
                "BOOTX64.EFI › section .initrd › decompressed › init: at byte 8: release b'h\\n'",
            ),
        ],
        ids=["content", "mode", "owner", "a file more", "a link", "initrd"],
    )
    def test_one_thing_is_different(
        self, tmp_path: Path, tools: Tree, kit: Kit, change: Callable[[Path], object], said: str
    ) -> None:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
        one = self.disk(tmp_path / "one", tools)
        other = self.disk(tmp_path / "other", tools, change)
        assert said in difference(one, other, kit)

    @pytest.mark.root
    def test_the_cause_comes_before_what_follows_from_it(
        self, tmp_path: Path, tools: Tree, kit: Kit
    ) -> None:
        """A root hash is in the kernel's command line, and identities in the table are made of it."""
        for name in ("one", "other"):
            (tmp_path / name).mkdir()

        def change(at: Path) -> None:
            (at / "root/etc/motd").write_text("goodbye\n")
            (at / "initrd").write_bytes(cpio_archive([file_entry("init", b"another root hash")]))

        one = self.disk(tmp_path / "one", tools)
        other = self.disk(tmp_path / "other", tools, change)
        with other.open("r+b") as disk:
            disk.seek(1024 + 16)
            disk.write(UUID(int=9).bytes_le)
        assert "partition root › etc/motd: at byte 0" in difference(one, other, kit)

    @pytest.mark.root
    def test_a_changed_partition_table(self, tmp_path: Path, tools: Tree, kit: Kit) -> None:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
        one, other = (self.disk(tmp_path / name, tools) for name in ("one", "other"))
        with other.open("r+b") as disk:
            disk.seek(440)
            disk.write(b"boot")
        assert difference(one, other, kit).startswith("product › partition table: at byte 440: ")
