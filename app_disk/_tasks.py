"""Tasks about the application's disk alone: `app-disk.check` and `app-disk.build`."""

from __future__ import annotations

import os
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from app_disk.brought import brought_images, pull_images
from app_disk.locked import TOOLS_SET, build_locked_app_disk
from app_disk.packet_filter import network_rules
from app_disk.recipe import app_recipes
from app_disk.source import DEFAULT_APP, app_directory, read_app
from supply_chain.front import told
from supply_chain.host import require_root
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace, fresh_dir

_ROOT = Path(__file__).resolve().parent.parent
_HELP = {"app": "an application of app_disk/apps, or a directory"}


@task(help=_HELP)
@told()
def check(_context: Context, app: str = DEFAULT_APP) -> None:
    """Check an application's manifests and show what a guest makes of them."""
    found = read_app(app_directory(app, _ROOT))
    brought_images(found)
    print(f"{found.name}: images {', '.join(found.images)}")
    for pod in found.workloads:
        print(f"pod {pod.name} at {pod.address}, ready when {pod.readiness.path} says so")
    for route in found.routes:
        below = "" if route.exact else "/*"
        print(f"{route.path}{below} -> {route.workload}:{route.port}")
    print(network_rules(found), end="")


@task(help=_HELP)
@told()
def build(_context: Context, app: str = DEFAULT_APP) -> None:
    """Build the disk into build/app-disk, unsigned; a model is taken from build/engine."""
    require_root()
    workspace = Workspace.at(_ROOT, os.environ)
    progress = ConsoleProgress()
    inputs = LockedInputs.at(workspace)
    directory = app_directory(app, _ROOT).absolute()
    found = read_app(directory)
    with workspace.exclusive(progress):
        fetch(
            inputs.lock,
            (TOOLS_SET, *(one for it in app_recipes(found) for one in (it.set_name, *it.wheels))),
            inputs.store,
            progress,
            environ=os.environ,
        )
        with fresh_dir(workspace.build / "app-disk") as out:
            disk = build_locked_app_disk(
                found,
                directory=directory,
                engine=workspace.build / "engine" if found.needs_engine else None,
                inputs=inputs,
                out=out,
                progress=progress,
            )
    print(f"{workspace.build / 'app-disk'}: {disk.descriptor.decode()}")


@task(help=_HELP)
@told()
def pull(_context: Context, app: str) -> None:
    """Fetch the images that an application names by digest, with skopeo, into its images/."""
    directory = app_directory(app, _ROOT).absolute()
    pulled = pull_images(read_app(directory), directory, ConsoleProgress())
    for image in pulled:
        print(image.reference)
    if not pulled:
        print("nothing to fetch: every image that is named by a digest is there")


ns = Collection("app-disk", check, build, pull)
