"""An application's disk from the lock: which inputs it needs, and where they go."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from app_disk.brought import brought_images, read_brought
from app_disk.build import AppDisk, build_app_disk
from app_disk.recipe import app_recipes
from app_disk.sbom import app_disk_sbom
from supply_chain.sbom.debian import Packages
from supply_chain.sbom.document import SBOM

if TYPE_CHECKING:
    from app_disk.application import App
    from supply_chain.digest import Sha256
    from supply_chain.inputs.lock import Lock
    from supply_chain.inputs.locked import LockedInputs
    from supply_chain.progress import Progress

TOOLS_SET = "tools"


def app_disk_inputs(app: App, lock: Lock) -> dict[str, Sha256]:
    """The digests of what the disk is made from, by their names in provenance.

    Packages and wheels are in the lock. The images that an application brings are pinned by its manifests.

    Raises:
        LockError: The lock lacks a package or a wheel.
        ManifestError: The application names an image without a digest, and there is no recipe for it.
    """
    made_from = [item for recipe in app_recipes(app) for item in recipe.inputs(lock)]
    return {
        **lock.input_digests(TOOLS_SET),
        **{item.title: item.sha256 for item in made_from},
        **{image.title: image.digest for image in brought_images(app)},
    }


def build_locked_app_disk(
    app: App,
    *,
    directory: Path,
    engine: Path | None,
    airgap: Path | None = None,
    inputs: LockedInputs,
    out: Path,
    progress: Progress,
) -> AppDisk:
    """The disk with its bill of materials in `out`, made from inputs that are in the store.

    Args:
        app: What the application's manifests say.
        directory: Where the application is, with the images that it brings.
        engine: The directory of the engine, if a pod mounts it.
        airgap: The archive of k3s's own images, where k3s runs the pods and not podman.
        inputs: The inputs; those of `app_disk_inputs` are used.
        out: An existing directory.
        progress: Where the work is told.

    Raises:
        LockError: The lock lacks an input.
        BuildError: As `build_app_disk`.
    """
    recipes = app_recipes(app)
    packages = {recipe.name: recipe.packages(inputs.lock) for recipe in recipes}
    roots = {name: inputs.unpacked(held) for name, held in packages.items()}
    with tempfile.TemporaryDirectory(prefix=".images-", dir=out) as scratch:
        with progress.step("app disk: images"):
            images = (
                *(recipe.image(inputs) for recipe in recipes),
                *read_brought(app, directory, Path(scratch)),
            )
        disk = build_app_disk(
            app,
            images=images,
            engine=engine,
            airgap=airgap,
            tools=inputs.tree(TOOLS_SET),
            out=out,
            progress=progress,
        )
    with progress.step("app disk: bill of materials"):
        origins = {
            name: (roots[name], Packages.read(packages[name], inputs.store)) for name in packages
        }
        wheels = {one.name: [inputs.lock.wheel(name) for name in one.wheels] for one in recipes}
        sbom = app_disk_sbom(app.name, disk, engine=engine, origins=origins, wheels=wheels)
        (out / SBOM).write_bytes(sbom)
    return disk
