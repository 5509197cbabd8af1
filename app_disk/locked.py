"""An application's disk from the lock: which inputs it needs, and where they go."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app_disk.build import AppDisk, build_app_disk, read_app
from app_disk.image import PAUSE_NAME, SERVER_NAME
from app_disk.sbom import app_disk_sbom
from supply_chain.errors import LockError
from supply_chain.sbom.debian import Packages
from supply_chain.sbom.document import SBOM

if TYPE_CHECKING:
    from pathlib import Path

    from supply_chain.digest import Sha256
    from supply_chain.inputs.lock import DebianPackage, Lock
    from supply_chain.inputs.locked import LockedInputs
    from supply_chain.progress import Progress

LLAMA_SET = "llama"
TOOLS_SET = "tools"
PAUSE_SET = "rootfs"
PAUSE_PACKAGE = "catatonit"
"""The guest's own version: podman knows how to run it as a pod's first process."""


def app_disk_inputs(lock: Lock) -> dict[str, Sha256]:
    """The digests of the locked inputs that the disk is made from, by their names in provenance.

    Raises:
        LockError: The lock lacks one of them.
    """
    pause = pause_package(lock)
    return {**lock.input_digests(LLAMA_SET, TOOLS_SET), pause.title: pause.sha256}


def pause_package(lock: Lock) -> DebianPackage:
    """The package of the program that a pod's first container runs.

    Raises:
        LockError: The guest's set does not hold it.
    """
    found = [package for package in lock.debian(PAUSE_SET) if package.name == PAUSE_PACKAGE]
    if len(found) != 1:
        raise LockError(f"set {PAUSE_SET}: expected one {PAUSE_PACKAGE}, got {len(found)}")
    return found[0]


def build_locked_app_disk(
    app: Path,
    *,
    engine: Path,
    inputs: LockedInputs,
    out: Path,
    progress: Progress,
) -> AppDisk:
    """The disk with its bill of materials in `out`, made from inputs that are in the store.

    Args:
        app: The directory of the Kubernetes manifests.
        engine: The directory of the engine.
        inputs: The inputs; those of `app_disk_inputs` are used.
        out: An existing directory.
        progress: Where the work is told.

    Raises:
        LockError: The lock lacks an input.
        BuildError: As `build_app_disk`.
    """
    packages = {
        SERVER_NAME: inputs.lock.debian(LLAMA_SET),
        PAUSE_NAME: (pause_package(inputs.lock),),
    }
    roots = {name: inputs.unpacked(held) for name, held in packages.items()}
    disk = build_app_disk(
        app,
        engine=engine,
        llama=roots[SERVER_NAME],
        pause=roots[PAUSE_NAME],
        tools=inputs.tree(TOOLS_SET),
        out=out,
        progress=progress,
    )
    with progress.step("app disk: bill of materials"):
        origins = {
            name: (roots[name], Packages.read(packages[name], inputs.store)) for name in packages
        }
        sbom = app_disk_sbom(read_app(app).name, disk, engine=engine, origins=origins)
        (out / SBOM).write_bytes(sbom)
    return disk
