"""File systems and hash trees, made by the locked tools and read back by other means."""

from __future__ import annotations

import os
import time
from hashlib import sha256
from pathlib import Path
from uuid import UUID

import pytest

from disk.erofs import build_erofs
from disk.fat import MINIMUM_BYTES, FatError, build_fat, fat_size_bytes
from disk.verity import VerityError, VerityTree, build_verity, verity_salt
from supply_chain.inputs.tree import Bind, Tree
from supply_chain.workspace import EPOCH

IDENTITY = UUID("626c696e-646c-6c61-6d61-000000000000")
BLOCK = 4096


def small_tree(folder: Path) -> Path:
    root = folder / "tree"
    (root / "etc").mkdir(parents=True)
    (root / "etc" / "hostname").write_text("guest\n")
    (root / "big").write_bytes(bytes(range(256)) * 4000)
    (root / "link").symlink_to("etc/hostname")
    for path in (root, root / "etc"):
        path.chmod(0o755)
    (root / "big").chmod(0o640)
    (root / "etc" / "hostname").chmod(0o644)
    return root


def root_hash_by_definition(data: bytes, salt: bytes) -> bytes:
    """The root hash as Documentation/admin-guide/device-mapper/verity.rst defines it."""
    level = [data[at : at + BLOCK] for at in range(0, len(data), BLOCK)]
    while True:
        digests = [sha256(salt + block).digest() for block in level]
        if len(digests) == 1:
            return digests[0]
        joined = b"".join(digests)
        level = [joined[at : at + BLOCK].ljust(BLOCK, b"\0") for at in range(0, len(joined), BLOCK)]


@pytest.mark.root
def test_an_erofs_does_not_depend_on_where_when_or_by_whom_it_is_made(
    tmp_path: Path, tools: Tree
) -> None:
    images = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        folder = tmp_path / name
        folder.mkdir()
        old = os.umask(umask)
        try:
            root = small_tree(folder)
            os.utime(root / "big", (1, len(name) * umask))
            build_erofs(root, folder / "image", tools=tools, uuid=IDENTITY, epoch=EPOCH)
        finally:
            os.umask(old)
        images.append((folder / "image").read_bytes())
    assert images[0] == images[1]
    assert images[0][1024:1028] == b"\xe2\xe1\xf5\xe0"
    assert len(images[0]) % BLOCK == 0


@pytest.mark.root
def test_an_erofs_gives_back_the_tree(tmp_path: Path, tools: Tree) -> None:
    root = small_tree(tmp_path)
    build_erofs(root, tmp_path / "image", tools=tools, uuid=IDENTITY, epoch=EPOCH)
    (tmp_path / "out").mkdir()
    tools.run(
        ["fsck.erofs", "--extract=/mnt/out/tree", "/mnt/image"],
        binds=[
            Bind(host=tmp_path / "image", inside="/mnt/image"),
            Bind(host=tmp_path / "out", inside="/mnt/out", read_only=False),
        ],
    )
    out = tmp_path / "out" / "tree"
    assert (out / "big").read_bytes() == (root / "big").read_bytes()
    assert (out / "big").stat().st_mode & 0o7777 == 0o640
    assert (out / "big").stat().st_mtime == EPOCH
    assert (out / "link").readlink() == Path("etc/hostname")


@pytest.mark.root
@pytest.mark.parametrize("blocks", [1, 2, 128, 129, 300])
def test_a_root_hash_is_the_one_that_the_kernel_defines(
    tmp_path: Path, tools: Tree, blocks: int
) -> None:
    data = b"".join(bytes([n % 251]) * BLOCK for n in range(blocks))
    (tmp_path / "data").write_bytes(data)
    (tmp_path / "hashes").write_bytes(b"\xff" * BLOCK * 40)
    salt = verity_salt("root")
    tree = build_verity(tmp_path / "data", tmp_path / "hashes", tools=tools, salt=salt)
    assert tree == VerityTree(
        root_hash=root_hash_by_definition(data, salt), data_blocks=blocks, salt=salt
    )
    # No superblock, and nothing left of what the file held before.
    assert b"verity" not in (tmp_path / "hashes").read_bytes()[:BLOCK]
    levels = 0 if blocks == 1 else 1 if blocks <= 128 else 1 + -(-blocks // 128)
    assert (tmp_path / "hashes").stat().st_size == max(levels, 0) * BLOCK
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "hashes"]


@pytest.mark.parametrize("size", [0, 1, BLOCK + 1])
def test_data_that_is_not_whole_blocks_is_refused(tmp_path: Path, size: int) -> None:
    (tmp_path / "data").write_bytes(bytes(size))
    with pytest.raises(VerityError) as caught:
        build_verity(tmp_path / "data", tmp_path / "hashes", tools=Tree(tmp_path), salt=b"s")
    assert caught.value.code == "disk.verity"


def test_a_root_hash_of_another_size_is_refused() -> None:
    with pytest.raises(VerityError) as caught:
        VerityTree(root_hash=bytes(20), data_blocks=1, salt=b"")
    assert caught.value.code == "disk.verity"


def test_salts_of_different_images_differ() -> None:
    assert verity_salt("root") == sha256(b"blindllama root").digest()
    assert verity_salt("root") != verity_salt("app")


@pytest.mark.root
def test_a_fat_holds_the_files_and_has_the_same_bytes_later(tmp_path: Path, tools: Tree) -> None:
    (tmp_path / "uki").write_bytes(b"MZ" + bytes(300_000))
    images = []
    for name in ("one", "two"):
        path = tmp_path / name
        build_fat(path, {"/EFI/BOOT/BOOTX64.EFI": tmp_path / "uki"}, tools=tools, volume_id=7)
        images.append(path.read_bytes())
        time.sleep(2.1)  # the resolution of a FAT's times is two seconds
    assert images[0] == images[1]
    image = images[0]
    assert image[82:90] == b"FAT32   "
    # Source: Microsoft FAT specification 1.03: the kind follows from the number of clusters.
    reserved = int.from_bytes(image[14:16], "little")
    table_sectors = int.from_bytes(image[36:40], "little")
    clusters = (len(image) // 512 - reserved - 2 * table_sectors) // image[13]
    assert clusters >= 65525
    binds = [Bind(host=tmp_path / "one", inside="/mnt/image")]
    listed = tools.run(["mdir", "-b", "-/", "-i", "/mnt/image", "::/"], binds=binds).stdout
    assert listed.decode().split() == ["::/EFI/", "::/EFI/BOOT/", "::/EFI/BOOT/BOOTX64.EFI"]
    copied = tools.run(["mtype", "-i", "/mnt/image", "::/EFI/BOOT/BOOTX64.EFI"], binds=binds)
    assert copied.stdout == (tmp_path / "uki").read_bytes()


@pytest.mark.parametrize("path", ["EFI/x", "/EFI/../x", "/"])
def test_a_path_that_is_not_inside_is_refused(tmp_path: Path, path: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FatError) as caught:
        build_fat(tmp_path / "image", {path: tmp_path / "file"}, tools=Tree(tmp_path), volume_id=1)
    assert caught.value.code == "disk.fat"


def test_a_fat_is_never_too_small_to_be_a_fat32() -> None:
    assert fat_size_bytes(0) == MINIMUM_BYTES
    assert fat_size_bytes(100 << 20) > 102 << 20
    assert fat_size_bytes((100 << 20) + 1) % (1 << 20) == 0
