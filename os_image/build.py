"""The steps from locked packages to a bootable disk, and what is known about the result."""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import UUID

from disk.erofs import build_erofs
from disk.fat import build_fat
from disk.gpt import (
    ESP_TYPE,
    ROOT_VERITY_X86_64_TYPE,
    ROOT_X86_64_TYPE,
    Partition,
    verity_partition_guids,
    write_gpt,
)
from disk.verity import VerityTree, build_verity, verity_salt
from os_image.initrd import InitrdParts, build_initrd
from os_image.k3s import K3S
from os_image.kernel import Kernel
from os_image.pe import authenticode_sha256, sections
from os_image.rootfs import build_rootfs
from os_image.sbom import os_image_sbom
from os_image.uki import UkiParts, build_uki
from supply_chain.digest import sha256_bytes, sha256_file
from supply_chain.sbom.document import SBOM
from supply_chain.workspace import EPOCH, replace_file

if TYPE_CHECKING:
    from disk.gpt import Extent
    from os_image.spec import OsImageSpec
    from supply_chain.inputs.locked import LockedInputs
    from supply_chain.inputs.tree import Tree
    from supply_chain.progress import Progress

LOCK_SETS = ("tools", "rootfs", "kernel", "initrd")
"""The sets of the lock that every OS image is made from."""
DISK_NAME = "os.img"
UKI_NAME = "uki.efi"
DESCRIPTION_NAME = "os-image.json"
BOOT_PATH = "/EFI/BOOT/BOOTX64.EFI"
"""Where firmware looks on a disk that no boot entry names."""

# Identities that would be random: they are part of the disk, so they are part of this file.
ROOT_UUID = UUID("b1d1a3a0-0001-4000-8000-626c696e646c")
DISK_GUID = UUID("b1d1a3a0-0002-4000-8000-626c696e646c")
ESP_GUID = UUID("b1d1a3a0-0003-4000-8000-626c696e646c")
ESP_VOLUME_ID = 0xB11D11A3


@dataclass(frozen=True, slots=True, kw_only=True)
class OsImage:
    """An OS image that was built, and what a prediction of its measurements starts from."""

    disk: Path
    """The whole disk: ESP, root, hash tree of the root."""
    uki: Path
    """The PE file on the ESP, which the firmware starts."""
    description: Path
    """The facts below as JSON."""
    debug: bool
    command_line: str
    kernel_release: str
    verity: VerityTree
    partitions: tuple[Extent, ...]


def lock_names(spec: OsImageSpec) -> tuple[str, ...]:
    """What of the lock an OS image is made from: names of sets and files."""
    return (*LOCK_SETS, K3S) if spec.runtime == K3S else LOCK_SETS


@dataclass(frozen=True, slots=True, kw_only=True)
class _Trees:
    tools: Tree
    kernel: Kernel
    initrd: Tree


def build_os_image(
    spec: OsImageSpec, *, inputs: LockedInputs, out: Path, progress: Progress
) -> OsImage:
    """Build the disk, the UKI, their description and the bill of materials into `out`.

    Args:
        spec: What the image consists of.
        inputs: The packages; the sets `tools`, `rootfs`, `kernel` and `initrd` are used.
        out: Where the four files go.
        progress: Told about what takes long.

    Raises:
        BuildError: A step failed; the text names the command to replay.
    """
    out.mkdir(parents=True, exist_ok=True)
    with progress.step("unpacking tools and kernel"):
        unpacked = _Trees(
            tools=inputs.tree("tools"),
            kernel=Kernel(inputs.tree("kernel").root),
            initrd=inputs.tree("initrd"),
        )
    with tempfile.TemporaryDirectory(dir=out) as name:
        work = Path(name)
        with progress.step("root file system"):
            root = build_rootfs(
                spec,
                packages=inputs.lock.debian("rootfs"),
                store=inputs.store,
                tools=unpacked.tools,
                kernel=unpacked.kernel,
                k3s=inputs.path(inputs.lock.file(K3S)) if spec.runtime == K3S else None,
                work=work,
            )
        with progress.step("root image and its hash tree"):
            image, tree_image = work / "root.erofs", work / "root.verity"
            build_erofs(root, image, tools=unpacked.tools, uuid=ROOT_UUID, epoch=EPOCH)
            verity = build_verity(image, tree_image, tools=unpacked.tools, salt=verity_salt("root"))
        with progress.step("initrd and UKI"):
            initrd = _initrd_parts(spec, verity, trees=unpacked)
            parts = _uki_parts(spec, verity, trees=unpacked, root=root, initrd=initrd)
            uki = build_uki(parts, tools=unpacked.tools, work=work)
        with progress.step("disk"):
            esp = work / "esp.img"
            build_fat(esp, {BOOT_PATH: uki}, tools=unpacked.tools, volume_id=ESP_VOLUME_ID)
            partitions = write_gpt(
                work / DISK_NAME, os_partitions(esp, image, tree_image, verity), DISK_GUID
            )
        with progress.step("bill of materials"):
            sbom = os_image_sbom(
                spec,
                disk=work / DISK_NAME,
                root=root,
                kernel=unpacked.kernel,
                initrd=initrd,
                inputs=inputs,
            )
        (work / DISK_NAME).replace(out / DISK_NAME)
        uki.replace(out / UKI_NAME)
    built = OsImage(
        disk=out / DISK_NAME,
        uki=out / UKI_NAME,
        description=out / DESCRIPTION_NAME,
        debug=spec.debug,
        command_line=parts.command_line,
        kernel_release=parts.kernel_release,
        verity=verity,
        partitions=partitions,
    )
    replace_file(out / SBOM, sbom)
    replace_file(built.description, describe(spec, built).encode())
    return built


def os_partitions(
    esp: Path, image: Path, tree_image: Path, verity: VerityTree
) -> tuple[Partition, ...]:
    """The partitions of an OS disk, in order; the names and order are measured into PCR 5."""
    data_guid, tree_guid = verity_partition_guids(verity.root_hash)
    return (
        Partition(name="esp", type_guid=ESP_TYPE, guid=ESP_GUID, source=esp),
        Partition(name="root", type_guid=ROOT_X86_64_TYPE, guid=data_guid, source=image),
        Partition(
            name="root-verity",
            type_guid=ROOT_VERITY_X86_64_TYPE,
            guid=tree_guid,
            source=tree_image,
        ),
    )


def describe(spec: OsImageSpec, built: OsImage) -> str:
    """The description as JSON: everything that identifies the image, and nothing that varies."""
    pe = built.uki.read_bytes()
    facts = {
        "version": 1,
        "name": spec.name,
        "debug": spec.debug,
        "disk": {"name": DISK_NAME, "size": built.disk.stat().st_size}
        | {"sha256": sha256_file(built.disk).hex},
        "uki": {
            "name": UKI_NAME,
            "size": len(pe),
            "sha256": sha256_bytes(pe).hex,
            "authenticode_sha256": authenticode_sha256(pe).hex,
            "sections": [
                {"name": s.name, "size": len(s.content), "sha256": sha256_bytes(s.content).hex}
                for s in sections(pe)
            ],
        },
        "command_line": built.command_line,
        "kernel_release": built.kernel_release,
        "root": {
            "algorithm": built.verity.algorithm,
            "block_size": built.verity.block_size,
            "data_blocks": built.verity.data_blocks,
            "root_hash": built.verity.root_hash.hex(),
            "salt": built.verity.salt.hex(),
        },
        "disk_guid": str(DISK_GUID),
        "partitions": [asdict(p) | {"guid": str(p.guid)} for p in built.partitions],
        "packages": sorted(spec.packages),
    }
    return json.dumps(facts, indent=2) + "\n"


def _initrd_parts(spec: OsImageSpec, verity: VerityTree, *, trees: _Trees) -> InitrdParts:
    return InitrdParts(
        script="init",
        programs=trees.initrd,
        modules=trees.kernel.modules(spec.kernel.initrd_modules),
        salt=verity.salt,
    )


def _uki_parts(
    spec: OsImageSpec, verity: VerityTree, *, trees: _Trees, root: Path, initrd: InitrdParts
) -> UkiParts:
    return UkiParts(
        kernel=trees.kernel.image,
        initrd=build_initrd(initrd, tools=trees.tools),
        command_line=spec.command_line(root_hash=verity.root_hash, data_blocks=verity.data_blocks),
        os_release=(root / "usr/lib/os-release").read_text("utf-8"),
        kernel_release=trees.kernel.release,
    )
