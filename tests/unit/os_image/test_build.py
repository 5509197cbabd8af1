"""Whole trees and disks from locked packages; the OS image itself is built by the e2e tests."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from os_image.build import BOOT_PATH
from os_image.guest.gpt import read_partitions
from os_image.kernel import Kernel
from os_image.pe import section
from os_image.probe import COMMAND_LINE, build_probe_disk
from os_image.prune import SHELLS
from os_image.rootfs import build_rootfs
from os_image.spec import SPEC_NAME, read_spec
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Bind, Tree
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace
from tests.conftest import ROOT, locked_tree

pytestmark = pytest.mark.root


@pytest.fixture
def fetched(lock: Lock, store: Store) -> None:
    for name in ("kernel", "initrd", "tools"):
        locked_tree(name, lock, store)
    if not all(store.has(package.sha256) for package in lock.debian("rootfs")):
        pytest.skip("needs the set rootfs: run ./do invoke inputs.fetch")


@pytest.mark.usefixtures("fetched")
def test_the_production_root_is_what_the_specification_says(
    tmp_path: Path, lock: Lock, store: Store, tools: Tree
) -> None:
    spec = read_spec(ROOT / "os_image" / SPEC_NAME, debug=False)
    root = build_rootfs(
        spec,
        packages=lock.debian("rootfs"),
        store=store,
        tools=tools,
        kernel=Kernel(locked_tree("kernel", lock, store).root),
        k3s=None,
        work=tmp_path,
    )
    paths = [path for path in root.rglob("*") if path.is_symlink() or path.is_file()]
    names = {path.name for path in paths}
    assert not names & SHELLS
    assert not any(path.lstat().st_mode & 0o6000 for path in paths)
    assert not any(path.lstat().st_mode & 0o002 for path in paths if not path.is_symlink())
    assert {path.lstat().st_uid for path in paths} == {0}
    units = {path.name for path in (root / "usr/lib/systemd/system").glob("*.*")}
    assert not any("pcr" in name or "tpm2" in name or "getty" in name for name in units)
    assert not (root / "usr/lib/systemd/system-generators").exists()
    assert {path.name for path in root.iterdir()} <= {
        *("bin", "dev", "etc", "lib", "lib64", "proc", "root", "run", "sbin", "sys", "tmp"),
        *("usr", "var"),
    }
    # The flags of PEP 552: compiled by hash, and never compared with the source.
    compiled = next((root / "usr/lib/python3.13").rglob("json/__pycache__/decoder.*.pyc"))
    assert struct.unpack_from("<I", compiled.read_bytes(), 4) == (1,)
    status = (root / "var/lib/dpkg/status").read_text("utf-8")
    assert {
        line.removeprefix("Package: ")
        for line in status.splitlines()
        if line.startswith("Package: ")
    } == spec.packages


@pytest.mark.usefixtures("fetched")
def test_a_probe_disk_is_the_same_in_another_place_with_another_umask(
    tmp_path: Path, lock: Lock, store: Store, tools: Tree
) -> None:
    inputs = LockedInputs.at(Workspace.at(ROOT, os.environ))
    disks = []
    for name, umask in (("one", 0o022), ("two", 0o077)):
        old = os.umask(umask)
        try:
            disks.append(
                build_probe_disk(
                    inputs=inputs,
                    out=tmp_path / name,
                    progress=SilentProgress(),
                )
            )
        finally:
            os.umask(old)
    assert disks[0].read_bytes() == disks[1].read_bytes()
    with disks[0].open("rb") as disk:
        esp, root, tree = read_partitions(disk)
        assert [esp.name, root.name, tree.name] == ["esp", "root", "root-verity"]
    image = f"/mnt/{disks[0].name}@@1M"
    binds = [Bind(host=disks[0], inside=f"/mnt/{disks[0].name}")]
    uki = tools.run(["mtype", "-i", image, f"::{BOOT_PATH}"], binds=binds).stdout
    assert section(uki, ".cmdline").content.rstrip(b"\0").decode() == COMMAND_LINE
    assert section(uki, ".osrel").content.startswith(b"NAME=blindllama-probe\n")
