"""What is in an OS image: the packages of its root, its initrd and its kernel, and our own files.

Counted in what was built and not in what was asked for: the root directory as it went into the file
system, the entries of the initrd, the kernel and the stub of the UKI.
"""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

from cyclonedx.model.component import Component, ComponentType

from os_image.initrd import initrd_entries
from os_image.uki import STUB, STUB_PACKAGE
from supply_chain.digest import sha256_bytes, sha256_file
from supply_chain.inputs.deb import read_tree
from supply_chain.sbom.debian import Inventory, Packages
from supply_chain.sbom.document import SbomError, hash_of, sbom_document

if TYPE_CHECKING:
    from pathlib import Path

    from os_image.initrd import InitrdParts
    from os_image.kernel import Kernel
    from os_image.spec import OsImageSpec
    from supply_chain.inputs.lock import DebianPackage
    from supply_chain.inputs.locked import LockedInputs

ROOT, INITRD, UKI = "root", "initrd", "uki"
"""The parts of an image, as the bill of materials calls them."""
_MODULES = "usr/lib/modules/"


def os_image_sbom(
    spec: OsImageSpec,
    *,
    disk: Path,
    root: Path,
    kernel: Kernel,
    initrd: InitrdParts,
    inputs: LockedInputs,
) -> bytes:
    """Return the bill of materials of an OS image.

    Args:
        spec: What it was made from.
        disk: The disk: the subject.
        root: The directory that became the root file system.
        kernel: The unpacked kernel.
        initrd: What the initrd was made of.
        inputs: The packages.

    Raises:
        SbomError: Something in the image is from nowhere.
    """
    inventory, lock, store = Inventory(), inputs.lock, inputs.store
    (linux,) = lock.debian("kernel")
    linuxes = Packages.read([linux], store)
    files = read_tree(root)
    modules = {path for path in files if path.startswith(_MODULES)}
    programs = Packages.read([p for p in lock.debian("rootfs") if p.name in spec.packages], store)
    inventory.add_tree(
        {path: found for path, found in files.items() if path not in modules}, programs, part=ROOT
    )
    # Not byte for byte: the package has them compressed.
    known = {sha256_bytes(m.content) for m in kernel.modules(spec.kernel.guest_modules)}
    for path in sorted(modules):
        if files[path].digest not in known:
            raise SbomError(f"{path}: expected a module of {linux.title}, got another file")
        inventory.add_package(linux, linuxes, part=ROOT)
    _add_initrd(inventory, initrd, linux, linuxes, Packages.read(lock.debian("initrd"), store))
    _add_uki(inventory, kernel, linux, linuxes, inputs)
    subject = Component(
        name=spec.name,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=spec.name,
        hashes=[hash_of(sha256_file(disk))],
    )
    return sbom_document(subject, inventory.parts())


def _add_initrd(
    inventory: Inventory,
    initrd: InitrdParts,
    linux: DebianPackage,
    linuxes: Packages,
    packages: Packages,
) -> None:
    modules = {sha256_bytes(module.content) for module in initrd.modules}
    for entry in initrd_entries(initrd):
        if not stat.S_ISREG(entry.mode):
            continue
        digest = sha256_bytes(entry.content)
        # By content alone: busybox has another place there.
        package = packages.of_digest(digest)
        if package is not None:
            inventory.add_package(package, packages, part=INITRD)
        elif digest in modules:
            inventory.add_package(linux, linuxes, part=INITRD)
        else:
            inventory.add_own(entry.path, digest, part=INITRD)


def _add_uki(
    inventory: Inventory,
    kernel: Kernel,
    linux: DebianPackage,
    linuxes: Packages,
    inputs: LockedInputs,
) -> None:
    if linuxes.of_digest(sha256_file(kernel.image)) is None:
        raise SbomError(f"{kernel.image.name}: expected the kernel of {linux.title}, got another")
    inventory.add_package(linux, linuxes, part=UKI)
    named = [p for p in inputs.lock.debian("tools") if p.name == STUB_PACKAGE]
    stubs = Packages.read(named, inputs.store)
    stub = stubs.of_path(STUB.lstrip("/"))
    if stub is None:
        raise SbomError(f"{STUB}: expected it in the package {STUB_PACKAGE}, got none there")
    inventory.add_package(stub, stubs, part=UKI)
