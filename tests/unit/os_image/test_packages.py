"""Locked packages: their descriptions, the repository made of them, the kernel's modules."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from os_image.initrd import InitrdParts, build_initrd, initrd_entries
from os_image.kernel import Kernel, KernelError, module_dependencies
from os_image.prune import RootfsError
from os_image.repository import write_repository
from os_image.rootfs import mmdebstrap_argv, selected
from os_image.spec import SPEC_NAME, read_spec
from supply_chain.digest import sha256_file
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree
from tests.conftest import locked_tree


@pytest.fixture(scope="module")
def initrd(lock: Lock, store: Store) -> Tree:
    return locked_tree("initrd", lock, store)


@pytest.fixture(scope="module")
def kernel(lock: Lock, store: Store) -> Kernel:
    return Kernel(locked_tree("kernel", lock, store).root)


@pytest.mark.usefixtures("initrd")
def test_the_repository_names_each_package_by_its_digest(
    tmp_path: Path, lock: Lock, store: Store
) -> None:
    packages = lock.debian("initrd")
    write_repository(packages, store, tmp_path)
    index = (tmp_path / "Packages").read_text()
    for package in packages:
        assert sha256_file(tmp_path / f"{package.sha256.hex}.deb") == package.sha256
        assert f"Package: {package.name}\n" in index
        assert f"SHA256: {package.sha256.hex}\n" in index
    assert index.count("Package: ") == len(packages)
    assert "Depends" not in index


def test_the_specification_s_packages_are_all_locked(lock: Lock, checkout: Path) -> None:
    for debug in (False, True):
        spec = read_spec(checkout / "os_image" / SPEC_NAME, debug=debug)
        chosen = selected(lock.debian("rootfs"), spec)
        assert {package.name for package in chosen} == spec.packages
        argv = mmdebstrap_argv(chosen, target="/t", repository="/r")
        assert "--variant=extract" in argv
        assert argv[-3:] == ["trixie", "/t", "deb [trusted=yes] copy:///r ./"]


def test_a_package_that_is_not_locked_is_named(lock: Lock, checkout: Path) -> None:
    spec = read_spec(checkout / "os_image" / SPEC_NAME)
    rest = [package for package in lock.debian("rootfs") if package.name != "podman"]
    with pytest.raises(RootfsError, match="podman") as caught:
        selected(rest, spec)
    assert caught.value.code == "os_image.rootfs"


def test_modules_come_after_those_that_they_need(kernel: Kernel) -> None:
    modules = kernel.modules(["dm-verity", "nft_ct", "dm_verity"])
    names = [module.name for module in modules]
    assert len(set(names)) == len(names)
    for module in modules:
        for needed in module_dependencies(module.content):
            assert needed not in names or names.index(needed) < names.index(module.name)
    assert {"dm_mod", "dm_verity", "nf_tables", "nf_conntrack", "nft_ct"} <= set(names)
    assert all(module.content.endswith(b"~Module signature appended~\n") for module in modules)


def test_a_module_that_is_built_in_is_left_out_and_an_unknown_one_refused(kernel: Kernel) -> None:
    assert kernel.modules(["nvme"]) == ()
    with pytest.raises(KernelError) as caught:
        kernel.modules(["no_such_module"])
    assert caught.value.code == "os_image.kernel"


def test_there_must_be_one_kernel(tmp_path: Path) -> None:
    with pytest.raises(KernelError) as caught:
        _ = Kernel(tmp_path).release
    assert caught.value.code == "os_image.kernel"


def test_every_command_of_the_early_scripts_is_in_the_initrd(initrd: Tree, checkout: Path) -> None:
    """The scripts run with nothing but these; busybox itself says which applets it has."""
    said = subprocess.run(
        [initrd.root / "usr/bin/busybox", "--list"], capture_output=True, check=True
    ).stdout
    applets = set(said.decode().split())
    entries = {entry.path for entry in initrd_entries(InitrdParts(script="init", programs=initrd))}
    linked = {path.removeprefix("bin/") for path in entries if path.startswith("bin/")}
    assert linked - {"busybox", "dmsetup"} <= applets
    for script in ("init", "probe"):
        words = set((checkout / "os_image/early" / script).read_text().split())
        used = (words & applets) - {"[", "exec", "export", "for", "init", "modules", "root", "echo"}
        assert used <= linked | {"true", "test"}, script


@pytest.mark.root
def test_an_initrd_has_the_same_bytes_every_time_and_is_zstd(tools: Tree, initrd: Tree) -> None:
    parts = InitrdParts(script="probe", programs=initrd, needs_dmsetup=False)
    one = build_initrd(parts, tools=tools)
    assert one == build_initrd(parts, tools=tools)
    assert one.startswith(b"\x28\xb5\x2f\xfd")
    archive = tools.run(["zstd", "--decompress", "--stdout"], stdin=one).stdout
    assert b"init\0" in archive
    assert b"dmsetup" not in archive
