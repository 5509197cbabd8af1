"""A guest whose disk or TPM is missing or not whole: it ends, and nobody answers."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from standing import Published
from supply_chain.errors import BootError
from tests.simulators import power

pytestmark = pytest.mark.e2e

WAIT_S = 240.0
"""Long enough for a guest to give up by itself, which is what is tested."""
SETUP = "blindllama: measured setup failed: "


def _blank(disk: Path) -> None:
    disk.write_bytes(bytes(1 << 20))


def _truncated(disk: Path) -> None:
    with disk.open("r+b") as file:
        file.truncate(disk.stat().st_size // 2)


@pytest.mark.parametrize("damage", [_blank, _truncated])
def test_a_guest_without_its_application_ends(
    site: Site, published: Published, tmp_path: Path, damage: object
) -> None:
    """A blank disk is a missing one to the guest; of a truncated one the kernel takes no table."""
    assert callable(damage)
    disk = tmp_path / "app.img"
    shutil.copyfile(published.folder / deployed.APP_DISK, disk)
    damage(disk)
    parts = replace(deployed.release_parts(site.workspace, now=site.clock()), app_disk=disk)
    with pytest.raises(BootError) as caught:
        vm.boot(
            tmp_path / "guest",
            parts,
            now=site.clock(),
            timeout_s=WAIT_S,
            attempts=1,
            progress=site.progress,
        )
    assert "the guest ended before it answered" in str(caught.value)
    assert f"{SETUP}app disk: expected one within 20 s, got none" in str(caught.value)


def test_a_guest_that_has_no_tpm_ends(site: Site, published: Published, tmp_path: Path) -> None:
    """It can measure nothing, so it opens nothing: it never answers."""
    assert published.folder.is_dir()
    parts = deployed.release_parts(site.workspace, now=site.clock())
    guest = power.start_without_tpm(tmp_path / "guest", parts, site.clock())
    try:
        with pytest.raises(BootError) as caught:
            vm.wait_until_ready(guest, WAIT_S, site.progress, vm.is_healthy)
    finally:
        vm.down(guest.directory)
    assert "the guest ended before it answered" in str(caught.value)
    assert SETUP in str(caught.value)
