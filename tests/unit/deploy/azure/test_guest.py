"""The last step of a deployment: the ten checks, against a machine that is simulated too.

No machine here is certified by Microsoft, and the client takes no other root for Azure: so the
checks pass under the policy of the simulation, and under one for Azure they refuse at the key.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from invoke import Context
from invoke.exceptions import Exit

from blindllama import AttestedSession, NetworkError, VerificationError, verify_and_connect
from blindllama.errors import Code
from blindllama.measurements import PlatformName
from deploy.azure._tasks import deploy, down, policy
from deploy.azure.arm import Arm
from deploy.azure.errors import AzureError, Reason
from deploy.azure.guest import guest_address, wait_for_guest
from deploy.azure.machine import machine_resources
from deploy.azure.release import Deployable, read_deployable
from deploy.azure.session import SECRET_VARIABLE
from engine.target import Gpu, TargetError
from supply_chain.digest import Sha256
from supply_chain.errors import BuildError
from supply_chain.progress import SilentProgress
from tests.simulators.arm import PUBLIC_ADDRESS
from tests.simulators.attested_server import Server, TlsKey, attested_server
from tests.simulators.balancer import balancing
from tests.simulators.booted_guest import BootedGuest, Papers, boot
from tests.simulators.entra import SECRET
from tests.simulators.release_folder import made_folder
from tests.simulators.signed_release import PLATFORMS
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter
from tests.unit.deploy.azure.conftest import Deployer, config_text
from tests.unit.sdk.connect.conftest import measured


@dataclass(frozen=True, kw_only=True)
class Released:
    """A release's folder with policies, and a guest that runs it."""

    root: Path
    quoter: SoftwareQuoter
    papers: Papers

    @property
    def folder(self) -> Path:
        return self.root / "release"

    def read(self, policy: str, platform: PlatformName) -> Deployable:
        return read_deployable(
            self.folder, self.root / policy, now=datetime.now(UTC), platform=platform
        )


@pytest.fixture(scope="module")
def released(tmp_path_factory: pytest.TempPathFactory) -> Released:
    root = tmp_path_factory.mktemp("released")
    quoter = SoftwareQuoter(ak=SoftwareAk.make_rsa())
    papers = Papers.of(quoter)
    boot(quoter)
    expected = measured()
    release = made_folder(
        root,
        measurements=dict.fromkeys(PLATFORMS, expected),
        vtpm_roots=(Sha256.from_hex(papers.root.hex()),),
    )
    azure = release.policy.for_platform(PlatformName.AZURE_TRUSTED_LAUNCH)
    (root / "policy-azure.toml").write_text(azure.to_toml())
    return Released(root=root, quoter=quoter, papers=papers)


@pytest.fixture
def server(released: Released) -> Iterator[Server]:
    key = TlsKey()
    guest = BootedGuest(quoter=released.quoter, papers=released.papers, spki=key.spki)
    with attested_server(guest, key) as running:
        yield running


def connecting(ready: Deployable, server: Server, address: str) -> Callable[[], AttestedSession]:
    """Checks the machine of that address, which is answered for on loopback."""
    port = server.url.rpartition(":")[2]
    return lambda: verify_and_connect(
        f"https://{address}:{port}",
        address="127.0.0.1",
        release=ready.evidence,
        policy=ready.policy,
    )


def waited(connect: Callable[[], AttestedSession], naps: list[float]) -> AttestedSession:
    return wait_for_guest(
        connect,
        patience_s=12,
        elapsed=lambda: sum(naps),
        sleep=naps.append,
        progress=SilentProgress(),
    )


def test_a_guest_that_answers_late_is_waited_for_and_passes_all_checks(
    released: Released, server: Server
) -> None:
    ready = released.read("policy.toml", PlatformName.QEMU_SWTPM)
    connect = connecting(ready, server, PUBLIC_ADDRESS)
    naps: list[float] = []

    def late() -> AttestedSession:
        if len(naps) < 2:
            raise NetworkError("nobody listens yet")
        return connect()

    with waited(late, naps) as session:
        assert session.report.passed
    assert naps == [5.0, 5.0]


def test_a_guest_that_never_answers_is_said_so() -> None:
    def never() -> AttestedSession:
        raise NetworkError("nobody listens")

    with pytest.raises(AzureError, match=r"deploy\.azure\.down") as caught:
        waited(never, [])
    assert caught.value.reason is Reason.GUEST


def test_a_simulated_machine_is_refused_under_a_policy_for_azure(
    released: Released, server: Server
) -> None:
    ready = released.read("policy-azure.toml", PlatformName.AZURE_TRUSTED_LAUNCH)
    naps: list[float] = []
    with pytest.raises(VerificationError) as caught:
        waited(connecting(ready, server, PUBLIC_ADDRESS), naps)
    assert caught.value.step == 7
    assert caught.value.code is Code.AK_SIMULATION_ROOT
    assert naps == []
    assert server.application_bytes == 0


def test_a_policy_for_another_platform_deploys_nothing(released: Released) -> None:
    with pytest.raises(AzureError, match=r"deploy\.azure\.policy") as caught:
        read_deployable(released.folder, released.root / "policy.toml", now=datetime.now(UTC))
    assert caught.value.reason is Reason.RELEASE


def test_a_policy_that_is_not_there_is_said_with_what_writes_it(released: Released) -> None:
    missing = released.root / "absent.toml"
    with pytest.raises(AzureError) as caught:
        read_deployable(released.folder, missing, now=datetime.now(UTC))
    assert caught.value.reason is Reason.RELEASE
    assert f"./do invoke deploy.azure.policy --out {missing} makes it" in str(caught.value)


def test_a_disk_that_is_not_the_signed_one_deploys_nothing(
    released: Released, tmp_path: Path
) -> None:
    disk = released.folder / "os.img"
    content = disk.read_bytes()
    try:
        disk.write_bytes(content + b"x")
        with pytest.raises(BuildError, match=r"os\.img has the wrong content"):
            released.read("policy-azure.toml", PlatformName.AZURE_TRUSTED_LAUNCH)
    finally:
        disk.write_bytes(content)


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with a release whose engine was compiled for an A100, and a policy for Azure."""
    root = tmp_path_factory.mktemp("compiled")
    materials = {"gpus": [{"architecture": "8.0"}], "libraries": {"tensorrt_llm": "1.2.1"}}
    manifest = {"kind": "trt-plan", "name": "mine", "materials": materials}
    signed = made_folder(root, engine_manifest=json.dumps(manifest).encode())
    azure = signed.policy.for_platform(PlatformName.AZURE_TRUSTED_LAUNCH)
    (root / "policy-azure.toml").write_text(azure.to_toml())
    return root


def test_an_engine_for_a_gpu_goes_to_its_own_architecture_and_version_alone(
    compiled: Path,
) -> None:
    def read(gpu: Gpu | None) -> Deployable:
        return read_deployable(
            compiled / "release", compiled / "policy-azure.toml", now=datetime.now(UTC), gpu=gpu
        )

    fitting = Gpu(architecture="8.0", tensorrt_llm="1.2.1")
    assert read(fitting).verified.sequence == 1
    for other, got in (
        (replace(fitting, architecture="9.0"), "got 9.0; build it again there"),
        (replace(fitting, tensorrt_llm="1.2.0"), "got 1.2.0; serve it in the same container"),
        (None, "got one without a GPU"),
    ):
        with pytest.raises(TargetError, match=got) as caught:
            read(other)
        assert caught.value.code == "engine.target"


@pytest.mark.parametrize("plan", [True, False])
def test_the_task_refuses_it_before_it_asks_azure(compiled: Path, *, plan: bool) -> None:
    gpu = '[machine.gpu]\narchitecture = "9.0"\ntensorrt_llm = "1.2.1"\n'
    config = compiled / "deploy.toml"
    config.write_text(
        'name = "llama"\nresource_group = "mine"\nlocation = "westeurope"\n'
        'subscription = "00000000-0000-4000-8000-000000000001"\npolicy = "policy-azure.toml"\n'
        f'[machine]\nsize = "Standard_NC40ads_H100_v5"\n{gpu}'
    )
    with pytest.raises(Exit, match=r"got 9\.0; build it again there"):
        deploy.body(Context(), str(compiled / "release"), config=str(config), plan=plan)


@pytest.mark.azure
def test_from_a_release_to_a_verified_session_and_down(
    released: Released, server: Server, deployer: Deployer
) -> None:
    ready = released.read("policy.toml", PlatformName.QEMU_SWTPM)
    wanted = machine_resources(deployer.config(), system=ready.system, app=ready.app)
    with deployer.open() as deployment:
        deployment.carry_out(deployment.plan(wanted))
        address = guest_address(deployment.arm, wanted)
        with waited(connecting(ready, server, address), []) as session:
            assert address in session.url
            assert session.completion("The capital of France is").startswith(" Paris")
    assert deployer.down() == []
    assert deployer.standing == set()


@pytest.fixture
def configured(deployer: Deployer, released: Released, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `deploy.toml` with the policy for Azure beside it, and the secret in the environment."""
    path = deployer.home / "deploy.toml"
    path.write_text(config_text(deployer.running))
    (deployer.home / "policy.toml").write_text((released.root / "policy-azure.toml").read_text())
    monkeypatch.setenv(SECRET_VARIABLE, SECRET)
    monkeypatch.setenv("BLINDLLAMA_CACHE", str(deployer.home / "cache"))
    return path


@pytest.mark.azure
def test_the_task_plans_and_down_knows_what_was_made(
    released: Released,
    configured: Path,
    deployer: Deployer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    deploy.body(Context(), str(released.folder), config=str(configured), plan=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert {line.split()[0] for line in lines} == {"make"}
    assert deployer.standing == set()
    # Where nothing was deployed nobody needs to be logged in.
    monkeypatch.delenv(SECRET_VARIABLE)
    down.body(Context(), config=str(configured))
    assert "no record of a deployment llama" in capsys.readouterr().out


@pytest.mark.azure
def test_the_task_deploys_and_says_that_nobody_answers(
    released: Released,
    configured: Path,
    deployer: Deployer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Nobody has its address (RFC 5737), and nobody waits for it.
    def unreached(_ready: Deployable, url: str) -> AttestedSession:
        raise NetworkError(f"{url}: nobody listens")

    monkeypatch.setattr("deploy.azure._tasks._connect", unreached)
    monkeypatch.setattr("deploy.azure._tasks.Arm", partial(Arm, poll_s=0))
    with pytest.raises(Exit, match=r"azure\.deploy\.guest"):
        deploy.body(Context(), str(released.folder), config=str(configured))
    assert f"address    {PUBLIC_ADDRESS}" in capsys.readouterr().out
    assert len(deployer.standing) == 8
    down.body(Context(), config=str(configured))
    assert "8 resources removed" in capsys.readouterr().out
    assert deployer.standing == set()


@pytest.mark.azure
def test_the_task_deploys_a_fleet_and_attests_each_instance(
    released: Released,
    configured: Path,
    deployer: Deployer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    configured.write_text(config_text(deployer.running, more="[fleet]\ninstances = 2"))
    ready = released.read("policy.toml", PlatformName.QEMU_SWTPM)
    monkeypatch.setattr("deploy.azure._tasks.Arm", partial(Arm, poll_s=0))
    with ExitStack() as stack:
        servers = [_instance(stack, released) for _ in range(2)]
        balancer = stack.enter_context(balancing(*(server.url for server in servers)))

        def reached(_ready: Deployable, _url: str) -> AttestedSession:
            return verify_and_connect(balancer.url, release=ready.evidence, policy=ready.policy)

        monkeypatch.setattr("deploy.azure._tasks._connect", reached)
        deploy.body(Context(), str(released.folder), config=str(configured))
        assert [server.attestations for server in servers] == [1, 1]
    said = capsys.readouterr()
    assert said.out.count("verified: all ten checks passed") == 2
    assert "2 of 2: sha256:" in said.out + said.err
    assert len(deployer.standing) == 11
    down.body(Context(), config=str(configured))
    assert "11 resources removed" in capsys.readouterr().out
    assert deployer.standing == set()


def _instance(stack: ExitStack, released: Released) -> Server:
    key = TlsKey()
    guest = BootedGuest(quoter=released.quoter, papers=released.papers, spki=key.spki)
    return stack.enter_context(attested_server(guest, key))


@pytest.mark.azure
def test_the_task_ends_with_the_report_of_the_ten_checks(
    released: Released,
    server: Server,
    configured: Path,
    deployer: Deployer,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # The machine is a simulation's, so it is asked under the policy of the simulation.
    simulated = released.read("policy.toml", PlatformName.QEMU_SWTPM)
    host = f"https://{PUBLIC_ADDRESS}"

    def connect(_ready: Deployable, url: str) -> AttestedSession:
        assert url == host
        return connecting(simulated, server, PUBLIC_ADDRESS)()

    monkeypatch.setattr("deploy.azure._tasks._connect", connect)
    monkeypatch.setattr("deploy.azure._tasks.Arm", partial(Arm, poll_s=0))
    deploy.body(Context(), str(released.folder), config=str(configured))
    assert "verified: all ten checks passed" in capsys.readouterr().out
    assert len(deployer.standing) == 8
    down.body(Context(), config=str(configured))
    assert deployer.standing == set()


def test_the_task_makes_a_policy_for_azure_of_another(released: Released, tmp_path: Path) -> None:
    out = tmp_path / "policy.toml"
    policy.body(Context(), policy=str(released.root / "policy.toml"), out=str(out))
    assert out.read_text() == (released.root / "policy-azure.toml").read_text()
