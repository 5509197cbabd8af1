"""The bills of materials against the disks themselves: what is in the images, and nothing else."""

from __future__ import annotations

import filecmp
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from building_site import Site
from pipeline import APP_DISK, OS_IMAGE
from supply_chain import process
from supply_chain.digest import Sha256, sha256_file
from supply_chain.inputs.deb import merged
from supply_chain.inputs.lock import DebianPackage
from supply_chain.inputs.tree import Bind
from supply_chain.sbom.document import SBOM
from supply_chain.step import StepResult

pytestmark = pytest.mark.e2e

DISKS = {OS_IMAGE: ("os.img", 1), APP_DISK: ("app.img", 0)}
"""The disk of a step, and which partition of it holds files."""
_SECTOR_BYTES, _ENTRY_BYTES, _TABLE_AT = 512, 128, 1024


def unpack(site: Site, results: Mapping[str, StepResult], step: str, folder: Path) -> Path:
    """The files of a disk, read back out of its erofs image by erofs's own tool."""
    name, number = DISKS[step]
    disk, image = results[step].path(name), folder / "image"
    with disk.open("rb") as stream:
        # UEFI 2.10, table 5.7: first and last block of an entry of the partition table.
        stream.seek(_TABLE_AT + number * _ENTRY_BYTES + 32)
        first, last = struct.unpack("<QQ", stream.read(16))
        stream.seek(first * _SECTOR_BYTES)
        image.write_bytes(stream.read((last - first + 1) * _SECTOR_BYTES))
    (folder / "out").mkdir()
    site.tree("tools").run(
        ["fsck.erofs", "--extract=/mnt/out/files", "/mnt/image"],
        binds=[
            Bind(host=image, inside="/mnt/image"),
            Bind(host=folder / "out", inside="/mnt/out", read_only=False),
        ],
    )
    return folder / "out" / "files"


def sbom(results: Mapping[str, StepResult], step: str) -> dict[str, Any]:
    """A step's bill of materials."""
    document: dict[str, Any] = json.loads(results[step].path(SBOM).read_bytes())
    return document


def listed(document: Mapping[str, Any], *, inside: str) -> set[str]:
    """The names of the packages that a bill of materials lists in some part."""
    return {
        part["name"]
        for part in document["components"]
        if f"blindllama:files-in-{inside}" in {p["name"] for p in part.get("properties", ())}
    }


def has_files_of(root: Path, package: DebianPackage, site: Site, scratch: Path) -> bool:
    """Whether a tree holds a file of a package, as dpkg itself unpacks it."""
    process.run(["dpkg-deb", "--extract", str(site.store.path(package.sha256)), str(scratch)])
    return any(
        same(root / merged(path.relative_to(scratch).as_posix()), path)
        for path in scratch.rglob("*")
    )


def same(one: Path, other: Path) -> bool:
    """Whether two paths are the same link or the same file."""
    if one.is_symlink() or other.is_symlink():
        return one.is_symlink() and other.is_symlink() and one.readlink() == other.readlink()
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def test_every_package_in_the_os_image_is_listed_and_no_other(
    site: Site, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    root = unpack(site, results, OS_IMAGE, tmp_path)
    there = {
        package.name
        for package in site.lock.debian("rootfs")
        if has_files_of(root, package, site, tmp_path / package.name)
    }
    document = sbom(results, OS_IMAGE)
    kernel = {package.name for package in site.lock.debian("kernel")}
    assert listed(document, inside="root") == there | kernel
    assert listed(document, inside="initrd") >= {"busybox-static", "dmsetup", "libc6", *kernel}
    assert listed(document, inside="uki") == {"systemd-boot-efi", *kernel}


def test_every_file_of_the_os_image_is_accounted_for(
    site: Site, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    """Files listed by themselves are there with that digest; our own programs are among them."""
    root = unpack(site, results, OS_IMAGE, tmp_path)
    document = sbom(results, OS_IMAGE)
    own = {
        part["name"]: part["hashes"][0]["content"]
        for part in document["components"]
        if part["type"] == "file"
        and {"name": "blindllama:part", "value": "root"} in part["properties"]
    }
    assert own == {name: sha256_file(root / name).hex for name in own}
    guest = {path.relative_to(root).as_posix() for path in root.rglob("os_image/guest/*.py")}
    assert guest
    assert guest | {"etc/caddy/Caddyfile", "usr/lib/os-release"} <= own.keys()
    files = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    compiled = [path for path in files if path.parent.name == "__pycache__"]
    assert len(own) < len(files) - len(compiled)


def test_the_model_on_the_disk_is_the_one_that_is_listed(
    site: Site, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    root = unpack(site, results, APP_DISK, tmp_path)
    document = sbom(results, APP_DISK)
    parts = {part["bom-ref"]: part for part in document["components"]}
    model = parts["engine/model.gguf"]
    assert model["hashes"][0]["content"] == sha256_file(root / "engine/model.gguf").hex
    assert model["licenses"][0]["license"]["id"] == "Apache-2.0"
    (layer,) = (
        path for path in (root / "images/overlay").iterdir() if "llama" in layer_files(path)
    )
    # By content alone: a library has the name that its loader asks for, which is often a link's.
    contents = digests(layer / "diff")
    there = set()
    for package in site.lock.debian("llama"):
        unpacked = tmp_path / package.name
        process.run(["dpkg-deb", "--extract", str(site.store.path(package.sha256)), str(unpacked)])
        if contents & digests(unpacked):
            there.add(package.name)
    assert listed(document, inside="llama-server") == there


def digests(root: Path) -> set[Sha256]:
    """The digests of all files in a directory that are not empty."""
    files = (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())
    return {sha256_file(path) for path in files if path.stat().st_size}


def layer_files(layer: Path) -> str:
    """All file names of an image layer, in one text."""
    return "\n".join(path.name for path in layer.rglob("*"))


@pytest.mark.parametrize("step", [OS_IMAGE, APP_DISK])
def test_a_bill_of_materials_is_about_the_disk_beside_it(
    results: Mapping[str, StepResult], step: str
) -> None:
    (digest,) = sbom(results, step)["metadata"]["component"]["hashes"]
    assert digest["content"] == sha256_file(results[step].path(DISKS[step][0])).hex
