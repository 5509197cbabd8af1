"""Logins: a service principal, an `az login` of this machine, any other credential; and refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest
import trustme

from deploy.azure.arm import Arm
from deploy.azure.config import CloudChoice, DeployConfig, parse_config
from deploy.azure.errors import AzureError, Reason
from deploy.azure.session import SECRET_VARIABLE, AzureSession, open_session
from tests.simulators.arm import SUBSCRIPTION, TOKEN
from tests.simulators.arm_server import RunningArm
from tests.simulators.entra import ASSERTION, CLIENT, MACHINE, SECRET, TENANT
from tests.unit.deploy.azure.conftest import config_text

pytestmark = pytest.mark.azure
OTHER = SUBSCRIPTION[:-1] + "2"
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/group"


class Known:
    """A credential with a token that is known already."""

    def __init__(self, token: str = TOKEN) -> None:
        self.token = token
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_options: object) -> object:
        from azure.core.credentials import AccessToken  # noqa: PLC0415 - an optional requirement

        self.scopes += scopes
        return AccessToken(self.token, 1 << 33)


@pytest.fixture
def config(running: RunningArm) -> DeployConfig:
    return parse_config(config_text(running))


@pytest.fixture
def az(running: RunningArm) -> DeployConfig:
    return parse_config(config_text(running, login='kind = "az"'))


@pytest.fixture
def logged_in(
    running: RunningArm, azure_home: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """What `az cloud register` and `az login --service-principal` leave on a machine."""
    account = {
        "id": SUBSCRIPTION,
        "name": "of the tests",
        "state": "Enabled",
        "user": {"name": CLIENT, "type": "servicePrincipal"},
        "isDefault": True,
        "tenantId": TENANT,
        "environmentName": "Loopback",
    }
    entry = {"client_id": CLIENT, "tenant": TENANT, "client_secret": SECRET}
    files = {
        "azureProfile.json": json.dumps({"subscriptions": [account]}),
        "service_principal_entries.json": json.dumps([entry]),
        "config": "[core]\ninstance_discovery = false\nencrypt_token_cache = false\n",
    }
    for name, text in files.items():
        (azure_home / name).write_text(text)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(running.authority))
    yield azure_home
    for name in files:
        (azure_home / name).unlink()


def works(session: AzureSession) -> bool:
    """Whether the Resource Manager answers it."""
    with Arm(session, poll_s=0) as arm:
        return arm.standing(GROUP) is None


def refusal(config: DeployConfig, folder: Path, secret: str | None = SECRET) -> AzureError:
    with pytest.raises(AzureError) as caught:
        open_session(config, folder=folder, secret=secret)
    assert SECRET not in str(caught.value)
    return caught.value


def test_a_service_principal_is_asked_for_by_its_secret_which_is_kept_nowhere(
    config: DeployConfig, running: RunningArm, tmp_path: Path, azure_home: Path
) -> None:
    session = open_session(config, folder=tmp_path, secret=SECRET)
    assert works(session)
    (asked,) = running.entra.asked
    assert asked["grant_type"] == "client_credentials"
    assert asked["scope"] == f"{running.address}/.default"
    for path in azure_home.rglob("*"):
        assert path.is_dir() or SECRET.encode() not in path.read_bytes()


def test_a_wrong_secret_is_no_login(config: DeployConfig, tmp_path: Path) -> None:
    error = refusal(config, tmp_path, "another")
    assert error.reason is Reason.NOT_LOGGED_IN
    assert "AADSTS7000215" in str(error)


def test_no_secret_is_no_login(config: DeployConfig, tmp_path: Path) -> None:
    error = refusal(config, tmp_path, None)
    assert error.reason is Reason.NOT_LOGGED_IN
    assert SECRET_VARIABLE in str(error)


def principal(kind: trustme.KeyType = trustme.KeyType.RSA) -> tuple[bytes, bytes]:
    """A key and its certificate (PEM)."""
    made = trustme.CA(key_type=kind)
    return made.private_key_pem.bytes(), made.cert_pem.bytes()


@pytest.fixture
def certified(running: RunningArm) -> DeployConfig:
    login = (
        f'kind = "service-principal"\ntenant = "{TENANT}"\nclient_id = "{CLIENT}"\n'
        'certificate = "principal.pem"'
    )
    return parse_config(config_text(running, login=login))


def test_a_service_principal_may_have_a_certificate(
    certified: DeployConfig, running: RunningArm, tmp_path: Path
) -> None:
    key, running.entra.certificate = principal()
    path = tmp_path / "principal.pem"
    path.write_bytes(key + running.entra.certificate)
    assert works(open_session(certified, folder=tmp_path, secret=None))
    path.write_bytes(b"".join(principal()))
    assert refusal(certified, tmp_path).reason is Reason.NOT_LOGGED_IN


@pytest.mark.parametrize(
    ("pem", "why"),
    [
        (lambda: None, "No such file"),
        (lambda: b"neither", "a key and its certificate"),
        (lambda: principal()[0], "a key and its certificate"),
        (lambda: principal()[1], "a key and its certificate"),
        (lambda: principal()[0] + principal()[1], "the certificate of another key"),
        (lambda: b"".join(principal(trustme.KeyType.ECDSA)), "an RSA key"),
    ],
)
def test_a_certificate_that_is_none_is_said_so(
    certified: DeployConfig, tmp_path: Path, pem: Callable[[], bytes | None], why: str
) -> None:
    if (content := pem()) is not None:
        (tmp_path / "principal.pem").write_bytes(content)
    error = refusal(certified, tmp_path)
    assert error.reason is Reason.CONFIG
    assert why in str(error)


def test_a_cloud_that_is_not_there_is_unavailable(config: DeployConfig, tmp_path: Path) -> None:
    # A port of loopback at which nobody can listen.
    nowhere = config.cloud.model_copy(update={"active_directory": "https://127.0.0.1:1"})
    error = refusal(config.model_copy(update={"cloud": nowhere}), tmp_path)
    assert error.reason is Reason.UNAVAILABLE


def test_an_az_login_of_this_machine_is_used(
    az: DeployConfig, logged_in: Path, tmp_path: Path, running: RunningArm
) -> None:
    assert works(open_session(az, folder=tmp_path, secret=None))
    assert len(running.entra.asked) == 1


def test_another_subscription_is_not_in_the_az_login(
    az: DeployConfig, logged_in: Path, tmp_path: Path
) -> None:
    error = refusal(az.model_copy(update={"subscription": OTHER}), tmp_path)
    assert error.reason is Reason.SUBSCRIPTION
    assert SUBSCRIPTION in str(error)


def test_without_an_az_login_it_says_what_makes_one(az: DeployConfig, tmp_path: Path) -> None:
    error = refusal(az, tmp_path)
    assert error.reason is Reason.NOT_LOGGED_IN
    assert "run: az login" in str(error)


def test_an_injected_credential_takes_the_login_s_place(
    az: DeployConfig, tmp_path: Path, running: RunningArm
) -> None:
    known = Known()
    assert works(open_session(az, folder=tmp_path, secret=None, credential=known))
    assert set(known.scopes) == {f"{running.address}/.default"}
    assert running.entra.asked == []


def test_a_class_of_another_library_is_a_login(
    running: RunningArm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("identities_of_the_tests")
    module.Known = Known  # type: ignore[attr-defined] # modules made here have no type
    monkeypatch.setitem(sys.modules, module.__name__, module)
    login = f'kind = "credential"\nfactory = "{module.__name__}:Known"\narguments.token = "{TOKEN}"'
    assert works(
        open_session(parse_config(config_text(running, login=login)), folder=tmp_path, secret=None)
    )


def test_a_workload_is_asked_for_by_what_its_place_says(
    running: RunningArm, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(ASSERTION)
    login = f"""
kind = "credential"
factory = "azure.identity:WorkloadIdentityCredential"
[login.arguments]
tenant_id = "{TENANT}"
client_id = "{CLIENT}"
token_file_path = "{token}"
authority = "{running.address}"
disable_instance_discovery = true
connection_verify = "{running.authority}"
"""
    config = parse_config(config_text(running, login=login))
    assert works(open_session(config, folder=tmp_path, secret=None))
    assert running.entra.asked[0]["client_assertion"] == ASSERTION
    token.write_text("another")
    assert refusal(config, tmp_path).reason is Reason.NOT_LOGGED_IN


def test_a_machine_with_an_identity_needs_no_secret(
    running: RunningArm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDENTITY_ENDPOINT", f"{running.address}{MACHINE}")
    monkeypatch.setenv("IDENTITY_HEADER", "of the tests")
    login = (
        'kind = "credential"\nfactory = "azure.identity:ManagedIdentityCredential"\n'
        f'arguments.connection_verify = "{running.authority}"'
    )
    config = parse_config(config_text(running, login=login))
    assert works(open_session(config, folder=tmp_path, secret=None))
    assert running.entra.asked[0]["resource"] == running.address


def test_arguments_that_a_class_does_not_take_are_refused(
    running: RunningArm, tmp_path: Path
) -> None:
    login = 'kind = "credential"\nfactory = "json:JSONDecoder"\narguments.x = "y"'
    error = refusal(parse_config(config_text(running, login=login)), tmp_path)
    assert error.reason is Reason.CONFIG
    assert "login.arguments" in str(error)


@pytest.mark.parametrize(
    "factory", ["no_such_library:Class", "json:NoSuchClass", "json:JSONDecoder"]
)
def test_what_is_no_credential_is_refused(
    running: RunningArm, tmp_path: Path, factory: str
) -> None:
    login = f'kind = "credential"\nfactory = "{factory}"'
    error = refusal(parse_config(config_text(running, login=login)), tmp_path)
    assert error.reason is Reason.CONFIG


def test_a_token_that_is_refused_later_is_a_login_that_ended(
    az: DeployConfig, tmp_path: Path
) -> None:
    session = open_session(az, folder=tmp_path, secret=None, credential=Known("expired"))
    with Arm(session, poll_s=0) as arm, pytest.raises(AzureError) as caught:
        arm.standing(GROUP)
    assert caught.value.reason is Reason.NOT_LOGGED_IN


def test_a_subscription_that_azure_does_not_know_is_said_so(
    config: DeployConfig, tmp_path: Path
) -> None:
    other = config.model_copy(update={"subscription": OTHER})
    session = open_session(other, folder=tmp_path, secret=SECRET)
    with Arm(session, poll_s=0) as arm, pytest.raises(AzureError) as caught:
        arm.standing(GROUP.replace(SUBSCRIPTION, OTHER))
    assert caught.value.reason is Reason.SUBSCRIPTION


@pytest.mark.parametrize(
    ("name", "manager"),
    [
        ("AzureCloud", "https://management.azure.com"),
        ("AzureUSGovernment", "https://management.usgovcloudapi.net"),
        ("AzureChinaCloud", "https://management.chinacloudapi.cn"),
    ],
)
def test_national_clouds_have_their_own_addresses(
    az: DeployConfig, tmp_path: Path, name: str, manager: str
) -> None:
    there = az.model_copy(update={"cloud": CloudChoice(name=name)})
    known = Known()
    session = open_session(there, folder=tmp_path, secret=None, credential=known)
    assert session.resource_manager == manager
    assert known.scopes == [session.scope]
    assert session.scope.endswith("/.default")


def test_a_cloud_that_nobody_registered_is_refused(az: DeployConfig, tmp_path: Path) -> None:
    there = az.model_copy(update={"cloud": CloudChoice(name="Nimbus")})
    error = refusal(there, tmp_path)
    assert error.reason is Reason.CONFIG
    assert "AzureUSGovernment" in str(error)
