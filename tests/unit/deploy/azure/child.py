"""A deployment to the simulation in a process of its own, which a test kills."""

from __future__ import annotations

from pathlib import Path

from deploy.azure.arm import Arm
from deploy.azure.config import read_config
from deploy.azure.deployment import Deployment
from deploy.azure.machine import machine_resources
from deploy.azure.record import Record, record_path
from deploy.azure.session import open_session
from deploy.azure.upload import Image
from supply_chain.digest import sha256_file
from supply_chain.progress import SilentProgress
from tests.simulators.entra import SECRET


def deploy(home: Path) -> None:
    """Deploy the images in a folder, with the configuration beside them."""
    config = read_config(home / "deploy.toml")
    images = [Image(path=path, sha256=sha256_file(path)) for path in (home / "images").iterdir()]
    app, system = sorted(images, key=lambda image: image.path.name)
    session = open_session(config, folder=home, secret=SECRET)
    with (
        Record.open(record_path(home / "deployments", config)) as record,
        Arm(session, poll_s=0, backoff_s=0) as arm,
    ):
        deployment = Deployment(
            name=config.name,
            arm=arm,
            record=record,
            journals=home / "journals",
            progress=SilentProgress(),
        )
        deployment.carry_out(deployment.plan(machine_resources(config, system=system, app=app)))
