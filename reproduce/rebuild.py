"""The steps of a release, carried out again from its own inputs in a clean and different place."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app_disk.source import DEFAULT_APP
from blindllama.measurements import PlatformName
from building_site import SOURCES, Site, read_site
from deploy.qemu import vm
from pipeline import (
    APP_DISK,
    ENGINE,
    MEASURE,
    OS_IMAGE,
    chosen_steps,
    declared_steps,
    fetch_for,
)
from reproduce.checkout import copy_checkout, give
from reproduce.surroundings import FOLDER, Surroundings, as_another_user
from supply_chain import process
from supply_chain.attest.rebuild import RebuiltStep
from supply_chain.digest import sha256_file
from supply_chain.errors import BuildError, CommandError
from supply_chain.host import BOOT_PROGRAMS, BUILD_PROGRAMS, require, require_root
from supply_chain.step import step_key
from supply_chain.workspace import scratch_dir

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime

    from supply_chain.claimed import Claim
    from supply_chain.digest import Sha256
    from supply_chain.step import Step

STEPS = (ENGINE, APP_DISK, OS_IMAGE)
"""What is rebuilt when nothing is chosen, and the measurements where they can be compared."""


_LAST_LINES = 12
"""How much of a failed build's output is repeated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebuild:
    """Steps that were carried out again; their products lie in a folder that will vanish."""

    steps: tuple[RebuiltStep, ...]
    folder: Path
    """Holds `STEP/FILE` for each product."""
    environment: Mapping[str, str]
    started: datetime
    finished: datetime

    @property
    def products(self) -> dict[str, Sha256]:
        """What came out, by product name."""
        return {name: digest for step in self.steps for name, digest in step.products.items()}


@contextlib.contextmanager
def rebuilt(
    site: Site,
    claim: Claim,
    *,
    release: Path | None = None,
    only: Sequence[str] = (),
    place: Path | None = None,
    surroundings: Surroundings | None = None,
) -> Iterator[Rebuild]:
    """Carry the steps of a release out again, for the length of the block.

    Args:
        site: This checkout, whose code is run.
        claim: The release.
        release: Its folder, whose lock and specifications are used; without it the checkout's,
            which must be the same.
        only: Steps, with those that they need; all that can be compared when empty.
        place: Where the clean workspace is made; `build` of the checkout when not given.
        surroundings: What is different there.

    Raises:
        BuildError: the inputs are not those of the release, or a step failed.
    """
    require_root()
    require((*BUILD_PROGRAMS, *BOOT_PROGRAMS), site.progress, offline=site.offline)
    wanted = tuple(only) or _comparable(site, claim)
    around = surroundings or Surroundings()
    with scratch_dir(place or site.workspace.build, "rebuild") as aside:
        copy = aside / FOLDER
        with site.progress.step("a clean copy of the checkout"):
            copy_checkout(site.workspace.root, copy)
            lay_sources(copy, claim, release)
        debug = bool(claim.steps[OS_IMAGE].parameters.get("debug", False))
        app = str(claim.steps[APP_DISK].parameters.get("app", DEFAULT_APP))
        there = read_site(
            copy, environ={}, progress=site.progress, clock=site.clock, app=app, debug=debug or None
        )
        steps = chosen_steps(declared_steps(there), wanted)
        fetch_for(replace(site, lock=there.lock), steps)
        _furnish(site, copy)
        done = _check(steps, claim, site)
        around = _settled(around, site, copy)
        started = site.clock()
        for step in steps:
            arguments = ["build", "--offline", "--only", step.name, "--app", app]
            arguments += ["--debug"] if debug else []
            with site.progress.step(f"rebuild {step.name}"):
                _run(around, arguments, copy, step.name)
        made = [_hashed(step, done[step.name], copy / "build") for step in steps]
        yield Rebuild(
            steps=tuple(made),
            folder=copy / "build",
            environment=around.told(),
            started=started,
            finished=site.clock(),
        )


def lay_sources(copy: Path, claim: Claim, release: Path | None) -> None:
    """Put the lock and the specifications of the release into a copy of the checkout.

    Raises:
        BuildError: they are not there, or not those that the release was built from.
    """
    named = {
        path.removeprefix(SOURCES): digest
        for path, digest in claim.files.items()
        if path.startswith(SOURCES)
    }
    if not named:
        raise BuildError("the release does not say which lock and specifications it was built from")
    for name, digest in named.items():
        target = copy / name
        if not target.resolve().is_relative_to(copy.resolve()):
            raise BuildError(f"{SOURCES}{name} of the release: expected a place in the checkout")
        if release is not None:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(release / f"{SOURCES}{name}", target)
        got = sha256_file(target) if target.is_file() else None
        if got != digest:
            raise BuildError(
                f"{name} is not the one that the release was built from; expected {digest}; "
                f"got {got or 'no such file'}; give the release's folder, or check out its source"
            )


def _comparable(site: Site, claim: Claim) -> tuple[str, ...]:
    """Return the steps whose products another machine makes alike: `measure` with one QEMU only."""
    theirs, ours = claim.steps[MEASURE].parameters.get("qemu"), vm.qemu_version()
    if theirs == ours:
        return (*STEPS, MEASURE)
    site.progress.note(
        f"{MEASURE} is not rebuilt: {PlatformName.QEMU_SWTPM.value} was measured with QEMU "
        f"{theirs}, this machine has {ours}"
    )
    return STEPS


def _furnish(site: Site, copy: Path) -> None:
    """Give the copy the fetched inputs, and what a probe boot has told of this machine."""
    cache = copy / ".cache"
    cache.mkdir()
    (copy / "scratch").mkdir()
    # By digest, so they are not fetched twice; the trees are unpacked anew.
    (cache / "store").symlink_to(site.workspace.store)
    if site.workspace.golden.is_dir():
        shutil.copytree(site.workspace.golden, cache / "golden")


def _check(steps: Sequence[Step], claim: Claim, site: Site) -> dict[str, dict[str, Sha256]]:
    """Return the materials of each step, once they are those of the release.

    Products of earlier steps are taken as the release states them: the rebuild is compared with
    them when it is done.

    Raises:
        BuildError: the release was built from other inputs.
    """
    materials: dict[str, dict[str, Sha256]] = {}
    for step in steps:
        stated = claim.steps[step.name]
        ours = {f"inputs/{name}": digest for name, digest in step.inputs.items()}
        theirs = {f"inputs/{name}": digest for name, digest in stated.inputs.items()}
        differing = sorted(
            name for name in ours.keys() | theirs.keys() if ours.get(name) != theirs.get(name)
        )
        if differing:
            raise BuildError(
                f"inputs of step {step.name}: the release states other digests than its lock "
                f"for {', '.join(differing[:5])}"
            )
        materials[step.name] = dict(stated.materials)
        if stated.invocation != f"{step.name}:{step_key(step, stated.materials).hex}":
            site.progress.note(
                f"{step.name}: this checkout's code or parameters are not those of the release"
            )
    return materials


def _settled(around: Surroundings, site: Site, copy: Path) -> Surroundings:
    """Return the surroundings as far as this machine can make them, and give the copy away."""
    if around.shift:
        give(copy.parent, around.shift)
        if why := as_another_user(around, copy):
            site.progress.note(f"rebuilding as the same user, since another cannot: {why}")
            give(copy.parent, 0)
            return replace(around, shift=0)
    return around


def _run(around: Surroundings, arguments: Sequence[str], copy: Path, name: str) -> None:
    argv = around.argv("invoke", arguments)
    try:
        process.run(argv, cwd=copy, env=around.environment(copy))
    except CommandError as exc:
        # Its own words, and no command to replay: the place where it ran is gone.
        last = exc.stderr.decode(errors="replace").strip().splitlines()[-_LAST_LINES:]
        raise BuildError(
            "\n".join([f"{name} could not be rebuilt; nothing was changed or signed:", *last])
        ) from exc


def _hashed(step: Step, materials: Mapping[str, Sha256], build: Path) -> RebuiltStep:
    products = {
        f"{step.name}/{name}": sha256_file(build / step.name / name) for name in step.products
    }
    return RebuiltStep(name=step.name, materials=materials, products=products)


def differing_products(rebuild: Rebuild, claim: Claim) -> list[str]:
    """Return the products that are not, bit for bit, what the release states.

    In the order of the steps, and disks first: descriptions of them differ because they do.
    """
    return [
        name
        for step in rebuild.steps
        for name in sorted(
            step.products.keys() | claim.steps[step.name].products.keys(),
            key=lambda name: (not name.endswith(".img"), name),
        )
        if step.products.get(name) != claim.steps[step.name].products.get(name)
    ]
