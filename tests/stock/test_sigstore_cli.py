"""The `sigstore` command signs with the instance and verifies, as a person would use it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest

from supply_chain import process
from supply_chain.local_sigstore.instance import secret_path
from supply_chain.local_sigstore.oidc import ISSUER
from tests.simulators.person import sign_in
from tests.simulators.sigstore_client import IDENTITY
from tests.stock.conftest import ARTIFACT, PROVENANCE

if TYPE_CHECKING:
    from supply_chain.local_sigstore import LocalSigstore
    from supply_chain.process import Completed

pytestmark = pytest.mark.sigstore

TOKEN = "SIGSTORE_IDENTITY_TOKEN"
"""The variable in which the command looks for a token; its option would show it to everybody."""


class Command:
    """The command with one trust configuration and a home of its own."""

    def __init__(self, instance: LocalSigstore, home: Path) -> None:
        self._home = home
        self._config = home / "trust_config.json"
        self._config.write_text(instance.trust_config_json)

    def run(self, *arguments: str, **env: str) -> Completed:
        return process.run(
            [sys.executable, "-m", "sigstore", "--trust-config", str(self._config), *arguments],
            env={"HOME": str(self._home), "XDG_CACHE_HOME": str(self._home), **env},
            timeout_s=60,
            check=False,
        )

    def verify(
        self, bundle: Path, artifact: Path, *, identity: str = IDENTITY, issuer: str = ISSUER
    ) -> Completed:
        return self.run(
            "verify",
            "identity",
            "--offline",
            f"--bundle={bundle}",
            f"--cert-identity={identity}",
            f"--cert-oidc-issuer={issuer}",
            str(artifact),
        )


@pytest.fixture(scope="module", params=["v1", "v2"])
def used(
    request: pytest.FixtureRequest, instance: LocalSigstore, second: LocalSigstore
) -> LocalSigstore:
    """The instance, once with each version of the log."""
    return instance if request.param == "v1" else second


@pytest.fixture(scope="module")
def command(used: LocalSigstore, tmp_path_factory: pytest.TempPathFactory) -> Command:
    return Command(used, tmp_path_factory.mktemp("command"))


@pytest.fixture(scope="module", params=["sign", "attest"])
def bundle(
    request: pytest.FixtureRequest,
    command: Command,
    used: LocalSigstore,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """What the command has signed: the artifact itself, and a statement about it."""
    folder = tmp_path_factory.mktemp("signed")
    made, artifact, predicate = (folder / name for name in ("bundle", "artifact", "predicate"))
    artifact.write_bytes(ARTIFACT)
    predicate.write_text(json.dumps(PROVENANCE.predicate))
    options = [f"--predicate-type={PROVENANCE.predicate_type}", f"--predicate={predicate}"]
    done = command.run(
        request.param,
        *(options if request.param == "attest" else []),
        f"--bundle={made}",
        str(artifact),
        **{TOKEN: str(used.identity_token(IDENTITY))},
    )
    assert done.returncode == 0, done.stderr.decode()
    return made


def test_what_the_command_signed_it_verifies(
    command: Command, bundle: Path, artifact: Path
) -> None:
    done = command.verify(bundle, artifact)
    assert done.returncode == 0, done.stderr.decode()
    assert f"OK: {artifact}" in (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    ("identity", "issuer", "reason"),
    [
        ("https://blindllama.dev/somebody", ISSUER, "SANs do not match"),
        (IDENTITY, "https://elsewhere.example", "OIDCIssuer does not match"),
    ],
)
def test_another_signer_is_refused(
    command: Command, bundle: Path, artifact: Path, identity: str, issuer: str, reason: str
) -> None:
    done = command.verify(bundle, artifact, identity=identity, issuer=issuer)
    assert done.returncode != 0
    assert reason in done.stderr.decode()


def test_another_artifact_is_refused(command: Command, bundle: Path, artifact: Path) -> None:
    artifact.write_bytes(ARTIFACT + b"!")
    done = command.verify(bundle, artifact)
    assert done.returncode != 0
    reason = "Bundle message digest mismatch|in-toto statement has no subject for digest"
    assert re.search(reason, done.stderr.decode())


@pytest.fixture
def secret_file(state: Path) -> Path:
    return secret_path(state)


def claims_in(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return claims


def test_a_person_signs_in_through_a_browser(
    instance: LocalSigstore, secret_file: Path, checkout: Path, tmp_path: Path
) -> None:
    browser = f"{sys.executable} -m tests.simulators.person {secret_file} me@blindllama.dev %s"
    done = Command(instance, tmp_path).run(
        "get-identity-token", BROWSER=browser, PYTHONPATH=str(checkout)
    )
    assert done.returncode == 0, done.stderr.decode()
    claims = claims_in(done.stdout.decode().split()[-1])
    assert (claims["iss"], claims["sub"]) == (ISSUER, "me@blindllama.dev")


def test_a_person_signs_in_without_a_browser(
    instance: LocalSigstore, secret_file: Path, tmp_path: Path
) -> None:
    config = tmp_path / "config.json"
    config.write_text(instance.trust_config_json)
    argv = [sys.executable, "-m", "sigstore", "--trust-config", str(config)]
    with subprocess.Popen(
        [*argv, "get-identity-token", "--oauth-force-oob"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={"HOME": str(tmp_path)},
        text=True,
    ) as running:
        assert running.stderr is not None
        link = next(line.strip() for line in running.stderr if "/oidc/authorize?" in line)
        page = sign_in(link, secret=secret_file.read_text(), identity="me@blindllama.dev")
        (code,) = re.findall(r"<code>([^<]+)</code>", page.text)
        out, errors = running.communicate(f"{code}\n", timeout=60)
    assert running.returncode == 0, errors
    assert claims_in(out.split()[-1])["sub"] == "me@blindllama.dev"
