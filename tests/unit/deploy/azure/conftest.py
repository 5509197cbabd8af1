"""Azurite behind a strict door, Azure's Resource Manager before it, and images with holes."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.azure.arm import Arm
from deploy.azure.config import DeployConfig, SecureBootChoice, parse_config
from deploy.azure.deployment import Deployment
from deploy.azure.machine import machine_resources
from deploy.azure.plan import Step
from deploy.azure.record import Record, parse_record, record_path
from deploy.azure.secure_boot import SecureBoot, read_secure_boot
from deploy.azure.session import open_session
from deploy.azure.upload import Image
from deploy.azure.wanted import Wanted
from supply_chain.digest import sha256_file
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace
from tests.simulators import arm_server, azurite, page_blob
from tests.simulators.ak_authority import new_root
from tests.simulators.arm import SUBSCRIPTION
from tests.simulators.arm_server import BlobDisks, RunningArm
from tests.simulators.entra import CLIENT, SECRET, TENANT

MIB = 1 << 20


@pytest.fixture(scope="session", autouse=True)
def azure_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where azure-cli-core keeps its files; it looks when it is imported, and then never again."""
    with pytest.MonkeyPatch.context() as patch:
        home = tmp_path_factory.mktemp("azure-home")
        patch.setenv("AZURE_CONFIG_DIR", str(home))
        patch.setenv("AZURE_CORE_COLLECT_TELEMETRY", "0")
        yield home


@pytest.fixture(scope="session")
def azure_storage(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[azurite.Azurite]:
    """A running Azurite; skips where it was not fetched."""
    cache = Workspace.at(checkout, os.environ).cache
    if not azurite.program(cache).exists():
        pytest.skip("needs Azurite: run ./do nox -s azure, where node and npm are installed")
    with azurite.running(tmp_path_factory.mktemp("azurite"), cache) as running:
        yield running


@pytest.fixture
def door(azure_storage: azurite.Azurite) -> Iterator[page_blob.Door]:
    """The only way by which an upload reaches Azurite; what Azure refuses fails the test."""
    with page_blob.door(azure_storage.port) as opened:
        yield opened
    assert opened.refused == []


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """24 MiB, of which 9 MiB and 8 KiB are data, in several pieces."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(24 * MIB)
        for offset, length in ((0, 8192), (3 * MIB, 5 * MIB), (19 * MIB, 4 * MIB)):
            file.seek(offset)
            file.write(bytes((offset // MIB + i) % 251 + 1 for i in range(4096)) * (length // 4096))
    return Image(path=path, sha256=sha256_file(path))


@pytest.fixture
def running(
    azure_storage: azurite.Azurite, door: page_blob.Door, tmp_path: Path
) -> Iterator[RunningArm]:
    """A Resource Manager whose disks are in Azurite."""
    storage = BlobDisks(azurite=azure_storage, door=door, prefix=f"{tmp_path.name}-")
    with arm_server.running(storage, tmp_path) as found:
        yield found


def config_text(
    running: RunningArm, *, network: str = "", login: str | None = None, more: str = ""
) -> str:
    """A `deploy.toml` for the simulation."""
    login = (
        login
        or f"""
kind = "service-principal"
tenant = "{TENANT}"
client_id = "{CLIENT}"
"""
    )
    return f"""
name = "llama"
subscription = "{SUBSCRIPTION}"
resource_group = "group"
location = "westeurope"
policy = "policy.toml"
wait_s = 1
[login]
{login}
[cloud]
name = "Loopback"
resource_manager = "{running.address}"
active_directory = "{running.address}"
certificate_authority = "arm.pem"
[machine]
size = "Standard_D2s_v5"
[network]
{network}
{more}
"""


def made_keys(folder: Path) -> SecureBoot:
    """Secure Boot keys that nobody has and a disk in a signed one's place, read from this folder."""
    with (folder / "signed.img").open("wb") as file:
        file.truncate(21 * MIB)
        file.write(b"s" * 4096)
    for name in ("PK", "KEK", "db"):
        certificate = new_root().certificate.public_bytes(Encoding.PEM)
        (folder / f"{name}.pem").write_bytes(certificate)
    choice = SecureBootChoice(
        image="signed.img",
        platform_key="PK.pem",
        key_exchange_keys=("KEK.pem",),
        signature_database=("db.pem",),
    )
    return read_secure_boot(choice, folder)


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployer:
    """Deploys to the simulation, each time as a new run does."""

    running: RunningArm
    home: Path
    waits: list[float] = field(default_factory=list)
    """How long uploads were told to wait."""

    def config(self, network: str = "") -> DeployConfig:
        """The configuration."""
        return parse_config(config_text(self.running, network=network))

    @property
    def record(self) -> Path:
        """Where the record of the deployment is."""
        return record_path(self.home / "deployments", self.config())

    @contextlib.contextmanager
    def open(self, *, retries: int = 0) -> Iterator[Deployment]:
        """The deployment, logged in."""
        config = self.config()
        session = open_session(config, folder=self.home, secret=SECRET)
        with (
            Record.open(self.record) as record,
            Arm(session, poll_s=0, backoff_s=0, retries=retries) as arm,
        ):
            yield Deployment(
                name=config.name,
                arm=arm,
                record=record,
                journals=self.home / "journals",
                progress=SilentProgress(),
                sleep=self.waits.append,
            )

    def run(self, wanted: Sequence[Wanted], *, retries: int = 0) -> list[Step]:
        """Deploy all of it; return what was planned."""
        with self.open(retries=retries) as deployment:
            steps = deployment.plan(wanted)
            deployment.carry_out(steps)
        return steps

    def down(self) -> list[str]:
        """Take all of it down; return what was left."""
        with self.open() as deployment:
            return deployment.take_down()

    @property
    def standing(self) -> set[str]:
        """The identifiers of all that is in Azure."""
        return {resource.identifier for resource in self.running.arm.store}

    @property
    def recorded(self) -> set[str]:
        """The identifiers of all that the record says was made."""
        return set(parse_record(self.record.read_bytes())[0])


@pytest.fixture
def deployer(running: RunningArm, tmp_path: Path) -> Deployer:
    """Who deploys to the simulation."""
    return Deployer(running=running, home=tmp_path)


def sparse(path: Path, byte: bytes) -> Image:
    with path.open("wb") as file:
        file.truncate(21 * MIB)
        file.write(byte * 4096)
    return Image(path=path, sha256=sha256_file(path))


@pytest.fixture
def wanted(deployer: Deployer, tmp_path: Path) -> list[Wanted]:
    images = tmp_path / "images"
    images.mkdir()
    return machine_resources(
        deployer.config(), system=sparse(images / "os", b"o"), app=sparse(images / "app", b"a")
    )
