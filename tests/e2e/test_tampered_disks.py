"""One flipped byte in a disk: no boot, no service, or a refusal; never an answer (B5)."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from blindllama import VerificationError, verify_and_connect
from blindllama.errors import Code
from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from pipeline import OS_IMAGE
from standing import Published
from supply_chain.errors import BootError
from supply_chain.step import StepResult
from tests.e2e.raw import attests

pytestmark = pytest.mark.e2e

WAIT_S = 150.0
"""A guest that has not answered by then does not answer; a good one takes a third of it."""
SECTOR = 512
EMULATOR_PANICS = 4
CORRUPTED = r"device-mapper: verity: .* corrupted"
"""What dm-verity says on the console before it stops the kernel."""


def test_a_byte_of_the_root_file_system(site: Site, published: Published, tmp_path: Path) -> None:
    """Read through dm-verity: the kernel stops, QEMU ends, nobody answers."""
    _assert_corrupted(site, tmp_path, os_disk=_flipped_partition(site, published, tmp_path, "root"))


def test_a_byte_of_the_root_hash_tree(site: Site, published: Published, tmp_path: Path) -> None:
    """The tree's top is checked against the hash on the measured command line."""
    _assert_corrupted(
        site, tmp_path, os_disk=_flipped_partition(site, published, tmp_path, "root-verity")
    )


def test_a_byte_of_the_application(site: Site, published: Published, tmp_path: Path) -> None:
    """The file system's own superblock is read through dm-verity too: no application starts."""
    disk = tmp_path / "app.img"
    shutil.copyfile(published.folder / deployed.APP_DISK, disk)
    _flip(disk, _first_partition(disk) + 1024)
    _assert_corrupted(site, tmp_path, app_disk=disk)


def test_a_byte_of_the_uki(
    site: Site, published: Published, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    """It boots, since only the os-release differs, and its registers give it away."""
    disk = tmp_path / "os.img"
    shutil.copyfile(published.folder / deployed.OS_DISK, disk)
    uki = results[OS_IMAGE].path("uki.efi").read_bytes()
    mark = b"ID=debian"
    content = disk.read_bytes()
    at = content.index(uki[:4096])
    offset = uki.index(mark)
    assert content[at + offset : at + offset + len(mark)] == mark
    _flip(disk, at + offset + len(mark) - 1)
    guest = _boot(site, tmp_path, os_disk=disk, attempts=vm.ATTEMPTS, ready=attests)
    try:
        with pytest.raises(VerificationError) as caught:
            verify_and_connect(guest.url, release=published.evidence, policy=published.policy)
    finally:
        vm.down(guest.directory)
    assert caught.value.code == Code.MEASUREMENT_MISMATCH
    assert caught.value.report is not None


def _boot(
    site: Site,
    folder: Path,
    *,
    os_disk: Path | None = None,
    app_disk: Path | None = None,
    attempts: int = 1,
    ready: Callable[[vm.Guest], bool] = vm.is_healthy,
) -> vm.Guest:
    parts = deployed.release_parts(site.workspace, now=site.clock())
    parts = replace(parts, os_disk=os_disk or parts.os_disk, app_disk=app_disk or parts.app_disk)
    return vm.boot(
        folder / "guest",
        parts,
        now=site.clock(),
        timeout_s=WAIT_S,
        attempts=attempts,
        ready=ready,
        progress=site.progress,
    )


def _assert_corrupted(
    site: Site, folder: Path, *, os_disk: Path | None = None, app_disk: Path | None = None
) -> None:
    """Boot and see dm-verity stop the kernel; the emulator's own rare panics do not count."""
    for _ in range(EMULATOR_PANICS):
        with pytest.raises(BootError) as caught:
            _boot(site, folder, os_disk=os_disk, app_disk=app_disk)
        if vm.EMULATOR_PANIC not in str(caught.value):
            break
    assert re.search(CORRUPTED, str(caught.value)), str(caught.value)


def _flipped_partition(site: Site, published: Published, folder: Path, name: str) -> Path:
    disk = folder / "os.img"
    shutil.copyfile(published.folder / deployed.OS_DISK, disk)
    facts = json.loads((site.workspace.build / OS_IMAGE / "os-image.json").read_text())
    partition = next(entry for entry in facts["partitions"] if entry["name"] == name)
    # In a file system's superblock, in a tree's top block: read at every boot.
    _flip(disk, partition["offset_bytes"] + 1024)
    return disk


def _first_partition(disk: Path) -> int:
    with disk.open("rb") as file:
        file.seek(2 * SECTOR + 32)
        return int.from_bytes(file.read(8), "little") * SECTOR


def _flip(path: Path, offset: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ 1]))
