"""The declared steps, in order: run for a release, demanded by its layout, repeated by an auditor.

Each function below is one step's build with what it reads bound to it; `declared_steps` puts the
four in order. Nothing below this module imports it: the steps are passed down as values.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from app_disk import build as app_disk
from app_disk.application import App
from app_disk.brought import IMAGES
from app_disk.descriptor import canonical_json
from app_disk.locked import app_disk_inputs, build_locked_app_disk
from app_disk.recipe import PAUSE
from app_disk.served import ServedEngine, check_served
from app_disk.source import manifest_files
from blindllama.measurements import PlatformMeasurements, PlatformName, measurements_file
from building_site import Site
from deploy.qemu import probe, vm, vtpm
from engine.gguf import MANIFEST, MODEL
from engine.locked import build_locked_engine, engine_files, engine_input_digests
from os_image import build as os_image
from os_image.k3s import AIRGAP, K3S, check_airgap
from os_image.predict.golden import golden_from_boot
from os_image.predict.predict import platform_measurements, predict_azure_pcrs, predict_pcrs
from os_image.probe import build_probe_disk
from supply_chain import sdk_wheel
from supply_chain.attest.chain import Measured
from supply_chain.errors import BuildError
from supply_chain.host import BOOT_PROGRAMS, BUILD_PROGRAMS, require, require_root
from supply_chain.inputs.prune import Stale, stale_inputs, stale_trees
from supply_chain.sbom.document import SBOM
from supply_chain.step import BYTECODE, Step, StepResult, run_step

ENGINE, APP_DISK, OS_IMAGE, MEASURE = "engine", "app-disk", "os-image", "measure"
SDK = sdk_wheel.SDK
MEASUREMENTS = "measurements.json"
OS_DISK_PRODUCT = f"{OS_IMAGE}/{os_image.DISK_NAME}"
APP_DISK_PRODUCT = f"{APP_DISK}/{app_disk.DISK}"

_SHARED_CODE = (
    "supply_chain/inputs/_enter.py",
    "supply_chain/inputs/tree.py",
    "supply_chain/process.py",
    "supply_chain/workspace.py",
    "requirements/build.txt",
)
"""How locked tools are run, which time is written, which libraries write it: part of every step."""
_WIRE_CODE = ("sdk/src/blindllama/measurements.py", "sdk/src/blindllama/pcr.py")
"""How measurements are written: the client compares its own writing of them with the product."""
_SBOM_CODE = ("supply_chain/sbom", "supply_chain/inputs/deb.py")


def declared_steps(site: Site) -> tuple[Step, ...]:
    """Return the steps of a release, in order."""
    root, lock, app = site.workspace.root, site.lock, site.application

    def code(*rooms: str, but: Collection[str] = ()) -> dict[str, Path]:
        named = [*(name for room in rooms for name in _sources(root, room, but)), *_SHARED_CODE]
        return {name: root / name for name in named}

    inputs = {
        APP_DISK: {
            **app_disk_inputs(app, lock),
            **({AIRGAP: lock.file(AIRGAP).sha256} if site.os_image.runtime == K3S else {}),
        },
        OS_IMAGE: lock.input_digests(*os_image.lock_names(site.os_image)),
        MEASURE: lock.input_digests("firmware", "tools", "kernel", "initrd"),
    }
    return (
        _engine_step(site, app, code("engine")),
        Step(
            name=APP_DISK,
            inputs=inputs[APP_DISK],
            reads=(*site.reads(inputs[APP_DISK]), site.app / IMAGES),
            after=(ENGINE,),
            products=(app_disk.DISK, app_disk.DESCRIPTION, SBOM),
            code=code("app_disk", "disk", "front", *_SBOM_CODE, but=("apps",))
            | _own_files(root, site.app),
            parameters={
                "app": site.app.relative_to(root).as_posix(),
                "runtime": site.os_image.runtime,
            },
            build=partial(_build_app_disk, site, app),
        ),
        Step(
            name=OS_IMAGE,
            inputs=inputs[OS_IMAGE],
            reads=site.reads(inputs[OS_IMAGE]),
            after=(),
            products=(os_image.DISK_NAME, os_image.UKI_NAME, os_image.DESCRIPTION_NAME, SBOM),
            code=code("os_image", "disk", *_SBOM_CODE, but=("predict", "probe.py")),
            parameters={
                "name": site.os_image.name,
                "debug": site.os_image.debug,
                "runtime": site.os_image.runtime,
            },
            build=partial(_build_os_image, site),
        ),
        Step(
            name=MEASURE,
            inputs=inputs[MEASURE],
            # The simulated TPM has an identity, and a machine is measured once.
            reads=(*site.reads(inputs[MEASURE]), site.workspace.state, site.workspace.golden),
            after=(APP_DISK, OS_IMAGE),
            products=(MEASUREMENTS,),
            code=code(
                "os_image",
                "deploy/qemu",
                "disk",
                *_WIRE_CODE,
                but=("guest", "rootfs", "rootfs_debug", "sbom.py"),
            ),
            parameters={
                "cpus": site.machine.cpus,
                "memory_mib": site.machine.memory_mib,
                "qemu": vm.qemu_version(),
            },
            build=partial(_measure, site),
        ),
    )


def _engine_step(site: Site, app: App, code: Mapping[str, Path]) -> Step:
    """Return how the application's engine is made; of one without a model it is the word none."""
    if not app.needs_engine:
        return Step(
            name=ENGINE,
            inputs={},
            after=(),
            products=(MANIFEST,),
            code=code,
            parameters={"kind": "none", "name": app.name},
            build=partial(_build_no_engine, app),
        )
    inputs = engine_input_digests(site.engine, site.lock)
    return Step(
        name=ENGINE,
        inputs=inputs,
        reads=(*site.reads(inputs), *engine_files(site.engine, root=site.workspace.root)),
        after=(),
        products=(MODEL, MANIFEST),
        code=code,
        parameters=site.engine.model_dump(mode="json"),
        build=partial(_build_engine, site),
    )


def _own_files(root: Path, app: Path) -> dict[str, Path]:
    """Return the manifests of the application, by their name in the checkout."""
    return {path.relative_to(root).as_posix(): path for path in manifest_files(app)}


def _sources(root: Path, room: str, but: Collection[str]) -> list[str]:
    """Return what a room consists of, without its tasks: those decide no byte."""
    if (root / room).is_file():
        return [room]
    left_out = {"_tasks.py", BYTECODE, *but}
    names = (path.name for path in (root / room).iterdir())
    return [f"{room}/{name}" for name in sorted(names) if name not in left_out]


def chosen_steps(steps: Sequence[Step], only: Collection[str]) -> tuple[Step, ...]:
    """Return the named steps and those that they need, in order; all when none is named.

    Raises:
        BuildError: there is no step of that name.
    """
    known = {step.name: step for step in steps}
    if unknown := sorted(set(only) - known.keys()):
        raise BuildError(f"step: expected one of {', '.join(known)}, got {', '.join(unknown)}")
    wanted = set(only or known)
    for step in reversed(steps):
        if step.name in wanted:
            wanted.update(step.after)
    return tuple(step for step in steps if step.name in wanted)


def build_all(site: Site, *, only: Collection[str] = ()) -> dict[str, StepResult]:
    """Fetch what is missing and run the steps that something has changed for.

    Args:
        site: Where and from what.
        only: Steps to run, with those that they need; all when empty.

    Raises:
        BuildError: an input, a tool or a step failed; what stood before still stands.
    """
    # Before any work: without it, all would be fetched and unpacked, and then fail.
    require_root()
    _check_served(site)
    require((*BUILD_PROGRAMS, *BOOT_PROGRAMS), site.progress, offline=site.offline)
    steps = chosen_steps(declared_steps(site), only)
    fetch_for(site, steps)
    results: dict[str, StepResult] = {}
    for step in steps:
        with site.progress.step(step.name):
            results[step.name] = run_step(
                step, earlier=results, build_root=site.workspace.build, clock=site.clock
            )
        if not results[step.name].rebuilt:
            site.progress.note(f"{step.name}: nothing changed, kept")
    return results


def fetch_for(site: Site, steps: Iterable[Step]) -> None:
    """What some steps are made from is in the store; sets for other models and images stay away.

    Raises:
        FetchError: an input cannot be had, or none may be asked for.
    """
    site.fetch_inputs({digest for step in steps for digest in step.inputs.values()})


def sdk_step(site: Site) -> Step:
    """Return the build of the client's wheel: handed on with a release, and no step of its layout.

    A guest does not run it, and a client that verifies a release has it already.
    """
    root, inputs = site.workspace.root, site.lock.input_digests("tools")
    return Step(
        name=SDK,
        inputs=inputs,
        reads=(root / SDK, *site.reads(inputs)),
        after=(),
        products=(sdk_wheel.read_project(root).wheel, SBOM),
        code={
            name: root / name
            for name in (
                *sdk_wheel.SOURCES,
                *_SHARED_CODE,
                *_SBOM_CODE,
                "supply_chain/sdk_wheel.py",
            )
        },
        parameters={},
        build=partial(_build_sdk, site),
    )


def build_sdk(site: Site) -> StepResult:
    """Build the client's wheel, unless the one that stands is of the same sources.

    Raises:
        BuildError: an input is missing, or the build failed.
    """
    require_root()
    site.fetch("tools")
    with site.progress.step(SDK):
        return run_step(
            sdk_step(site), earlier={}, build_root=site.workspace.build, clock=site.clock
        )


def stale_cache(site: Site) -> tuple[Stale, ...]:
    """Return what the cache holds that no step of today's lock reads."""
    sets = [site.lock.debian(name) for name in site.lock.sets]
    return (
        *stale_trees(site.workspace.trees, [*sets, PAUSE.packages(site.lock)]),
        *stale_inputs(site.store, site.lock),
    )


def read_measured(results: Mapping[str, StepResult]) -> Measured:
    """Return what the measuring step found out.

    Raises:
        BuildError: its product is not what this version writes.
    """
    path = results[MEASURE].path(MEASUREMENTS)
    try:
        document = json.loads(path.read_bytes())
        platforms = {
            name: PlatformMeasurements.model_validate_json(json.dumps(wire))
            for name, wire in document["platforms"].items()
        }
        debug = bool(document["debug"])
    except (OSError, ValueError, KeyError, ValidationError) as exc:
        raise BuildError(f"{path}: not measurements of this version: {exc}") from exc
    return Measured(subjects=(OS_DISK_PRODUCT, APP_DISK_PRODUCT), debug=debug, platforms=platforms)


def _build_engine(site: Site, out: Path) -> None:
    build_locked_engine(
        site.engine,
        inputs=site.inputs,
        root=site.workspace.root,
        out=out,
        progress=site.progress,
    )


def _check_served(site: Site) -> None:
    """Nothing: the application serves the engine that it will get; the build compares once more."""
    app, engine = site.application, site.engine
    if app.needs_engine:
        served = ServedEngine(name=engine.name, **engine.server.model_dump())
        check_served(app, served)


def _build_no_engine(app: App, out: Path) -> None:
    document = {"kind": "none", "name": app.name}
    (out / MANIFEST).write_bytes(canonical_json(document) + b"\n")


def _build_app_disk(site: Site, app: App, out: Path) -> None:
    airgap = None
    if site.os_image.runtime == K3S:
        airgap = site.inputs.path(site.lock.file(AIRGAP))
        check_airgap(airgap)
    build_locked_app_disk(
        app,
        directory=site.app,
        airgap=airgap,
        engine=site.workspace.build / ENGINE if app.needs_engine else None,
        inputs=site.inputs,
        out=out,
        progress=site.progress,
    )


def _build_os_image(site: Site, out: Path) -> None:
    os_image.build_os_image(
        site.os_image,
        inputs=site.inputs,
        out=out,
        progress=site.progress,
    )


def _build_sdk(site: Site, out: Path) -> None:
    sdk_wheel.build_sdk(site.workspace.root, tools=site.tree("tools"), out=out)


def _measure(site: Site, out: Path) -> None:
    """Predict the registers; PCR 0 and 1 start from a probe boot of this machine profile."""
    now, firmware = site.clock(), site.firmware
    with tempfile.TemporaryDirectory(prefix="probe-") as scratch:
        probed = probe.probe_boot(
            golden=site.workspace.golden,
            machine=site.machine,
            firmware=firmware,
            probe_disk=build_probe_disk(
                inputs=site.inputs,
                out=Path(scratch),
                progress=site.progress,
            ),
            tpm=vtpm.provision(site.workspace.state, now=now),
            now=now,
            progress=site.progress,
        )
    firmware_code = firmware.code.read_bytes()
    uki = (site.workspace.build / OS_IMAGE / os_image.UKI_NAME).read_bytes()
    descriptor = app_disk.read_descriptor(site.workspace.build / APP_DISK / app_disk.DESCRIPTION)
    expected = predict_pcrs(
        uki=uki,
        disk=site.workspace.build / OS_IMAGE / os_image.DISK_NAME,
        firmware_code=firmware_code,
        firmware_variables=firmware.variables.read_bytes(),
        app_descriptor=descriptor,
        golden=golden_from_boot(
            firmware_code=firmware_code, pcrs=probed.pcrs, event_log=probed.event_log
        ),
    )
    azure = predict_azure_pcrs(uki=uki, app_descriptor=descriptor)
    platforms = {
        PlatformName.QEMU_SWTPM.value: platform_measurements(
            expected, site.machine.wire(firmware, probed.qemu)
        ),
        PlatformName.AZURE_TRUSTED_LAUNCH.value: platform_measurements(azure),
    }
    (out / MEASUREMENTS).write_bytes(
        measurements_file(debug=site.os_image.debug, platforms=platforms)
    )
