"""Tasks around Azure: `deploy.azure`, `.down`, `.policy` and `.upload`."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from blindllama import AttestedSession, Policy, verify_and_connect
from blindllama.measurements import PlatformName
from blindllama.report import Report
from deploy.azure import vhd
from deploy.azure.arm import Arm
from deploy.azure.config import CONFIG_NAME, DeployConfig, read_config
from deploy.azure.deployment import Deployment
from deploy.azure.errors import AzureError, Reason
from deploy.azure.fleet import fleet_resources
from deploy.azure.guest import guest_address, wait_for_guest
from deploy.azure.instances import wait_for_instances
from deploy.azure.machine import machine_resources
from deploy.azure.piece import data_bytes
from deploy.azure.plan import Step
from deploy.azure.record import Record, record_path
from deploy.azure.release import Deployable, read_deployable
from deploy.azure.secure_boot import read_secure_boot
from deploy.azure.secure_machine import secure_machine_resources
from deploy.azure.session import SECRET_VARIABLE, open_session
from deploy.azure.upload import Image, upload
from deploy.azure.wanted import Wanted, kind_of
from supply_chain.digest import sha256_file
from supply_chain.front import told
from supply_chain.passphrase import ask_at_terminal
from supply_chain.progress import ConsoleProgress, Progress
from supply_chain.workspace import Workspace, held, replace_file

VARIABLE = "BLINDLLAMA_AZURE_DISK"
"""The address of a disk with its signature; never an argument, which every user could read."""

_ROOT = Path(__file__).resolve().parents[2]


class _Asked:
    """Addresses of a disk: the first from the environment if it is there, later ones by asking."""

    def __init__(self, given: str | None, ask: Callable[[str], str] = ask_at_terminal) -> None:
        self._given = given
        self._ask = ask

    def __call__(self) -> str:
        given, self._given = self._given, None
        if given is not None:
            return given
        try:
            return self._ask("address of the disk, with its signature (accessSAS): ")
        except (EOFError, OSError) as exc:
            raise AzureError(
                Reason.ACCESS,
                "the disk's address is missing or its signature has expired, and there is no "
                f"terminal to ask for one; set {VARIABLE} and run the same again: it goes on",
            ) from exc


def _azure() -> Path:
    return Workspace.at(_ROOT, os.environ).state / "azure"


@contextlib.contextmanager
def _record(config: DeployConfig, progress: Progress) -> Iterator[Record]:
    """What a deployment has made; a second run of it waits for the first."""
    path = record_path(_azure() / "deployments", config)
    with (
        held(path.with_suffix(".lock"), progress, "another run of this deployment"),
        Record.open(path) as record,
    ):
        yield record


@contextlib.contextmanager
def _deployment(
    config: DeployConfig, folder: Path, record: Record, progress: Progress
) -> Iterator[Deployment]:
    """The deployment that a configuration describes, by somebody who is logged in."""
    with progress.step("logging in to Azure"):
        session = open_session(config, folder=folder, secret=os.environ.get(SECRET_VARIABLE))
    with Arm(session) as arm:
        yield Deployment(
            name=config.name,
            arm=arm,
            record=record,
            journals=_azure() / "uploads",
            progress=progress,
        )


def _show_plan(steps: Sequence[Step]) -> None:
    for step in steps:
        image = step.wanted.image if step.wanted is not None and step.uploads else None
        sent = "" if image is None else f", {data_bytes(image.path) >> 20} MiB to upload at most"
        kind = kind_of(step.identifier).value.rpartition("/")[2]
        print(f"{step.action:9}  {kind} {step.identifier.rpartition('/')[2]}{sent}")


@task(
    name="machine",
    default=True,
    positional=["release"],
    help={
        "release": "a release's folder, for example dist/release",
        "config": "where in Azure, as whom and for whom: docs/azure.md has an example",
        "plan": "only say what exists and what would be done; nothing is changed",
    },
)
@told()
def deploy(_context: Context, release: str, config: str = CONFIG_NAME, plan: bool = False) -> None:
    """Run a release on Trusted Launch in Azure, on one machine or on many, and verify it."""
    chosen, folder, progress = read_config(Path(config)), Path(config).parent, ConsoleProgress()
    with progress.step("verifying the release"):
        gpu = chosen.machine.gpu
        ready = read_deployable(
            Path(release),
            folder / chosen.policy,
            now=datetime.now(UTC),
            gpu=gpu.value if gpu is not None else None,
        )
    wanted = _wanted(chosen, folder, ready)
    with (
        _record(chosen, progress) as record,
        _deployment(chosen, folder, record, progress) as deployment,
    ):
        steps = deployment.plan(wanted)
        _show_plan(steps)
        if plan:
            return
        deployment.carry_out(steps)
        address = guest_address(deployment.arm, wanted)
        print(f"address    {address}")
        for report in _attested(chosen, partial(_connect, ready, f"https://{address}"), progress):
            print(report)


def _wanted(chosen: DeployConfig, folder: Path, ready: Deployable) -> list[Wanted]:
    choice, sequence = chosen.secure_boot, ready.verified.sequence
    keys = None if choice is None else read_secure_boot(choice, folder)
    if chosen.fleet is not None:
        return fleet_resources(
            chosen,
            chosen.fleet,
            system=ready.system,
            app=ready.app,
            sequence=sequence,
            keys=keys,
        )
    if keys is not None:
        return secure_machine_resources(chosen, app=ready.app, sequence=sequence, keys=keys)
    return machine_resources(chosen, system=ready.system, app=ready.app)


def _attested(
    chosen: DeployConfig, connect: Callable[[], AttestedSession], progress: Progress
) -> Iterator[Report]:
    """The reports of the machine, or of every machine of the fleet."""
    if chosen.fleet is None:
        with wait_for_guest(
            connect,
            patience_s=chosen.wait_s,
            elapsed=time.monotonic,
            sleep=time.sleep,
            progress=progress,
        ) as session:
            yield session.report
        return
    found = wait_for_instances(
        connect,
        instances=chosen.fleet.instances,
        patience_s=chosen.wait_s,
        elapsed=time.monotonic,
        sleep=time.sleep,
        progress=progress,
    )
    yield from found.values()


def _connect(ready: Deployable, url: str) -> AttestedSession:
    return verify_and_connect(url, release=ready.evidence, policy=ready.policy)


@task(help={"config": "the configuration with which it was deployed"})
@told()
def down(_context: Context, config: str = CONFIG_NAME) -> None:
    """Remove from Azure exactly what deploy.azure has made there, by the record of this machine."""
    chosen, progress = read_config(Path(config)), ConsoleProgress()
    with _record(chosen, progress) as record:
        named = len(record.made)
        if not named:
            print(
                f"this machine has no record of a deployment {chosen.name}; if another one has "
                "made it, run deploy.azure here first: it finds what exists by its tag"
            )
            return
        with _deployment(chosen, Path(config).parent, record, progress) as deployment:
            left = deployment.take_down()
    print(f"{named - len(left)} resources removed")
    for line in left:
        print(f"left  {line}")


@task(
    help={
        "policy": "the policy of the same release elsewhere, as invoke release writes it",
        "out": "the file to write",
    }
)
@told()
def policy(
    _context: Context, policy: str = "dist/policy.toml", out: str = "dist/policy-azure.toml"
) -> None:
    """Write the policy that trusts the same people with the same release on Azure."""
    there = Policy.from_file(policy).for_platform(PlatformName.AZURE_TRUSTED_LAUNCH)
    replace_file(Path(out), there.to_toml().encode())
    print(out)


@task(
    name="upload",
    positional=["image"],
    help={
        "image": "a raw image, for example dist/release/os.img",
        "plan": "only say which size the disk must have and what would be sent",
    },
)
@told()
def upload_image(_context: Context, image: str, plan: bool = False) -> None:
    """Send a raw image to a managed disk that awaits it; again after a kill, it goes on."""
    path = Path(image)
    size = path.stat().st_size
    if plan:
        print(f"uploadSizeBytes  {vhd.upload_bytes(size)}")
        print(f"data             {data_bytes(path)} bytes at most, the rest are holes")
        return
    progress = ConsoleProgress()
    with progress.step(f"reading {path}"):
        digest = sha256_file(path)
    with progress.step(f"uploading {path}"):
        done = upload(
            Image(path=path, sha256=digest),
            _Asked(os.environ.get(VARIABLE)),
            journals=_azure() / "uploads",
            progress=progress,
        )
    print(f"image  {digest}")
    print(f"disk   {done.disk_bytes} bytes")
    print(f"sent   {done.sent_bytes} bytes now, {done.kept_bytes} in earlier runs")


ns = Collection("azure", deploy, down, policy, upload_image)
