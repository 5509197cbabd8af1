"""cosign verifies what this instance has signed and refuses the rest, or the test says what it does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sigstore.dsse import Statement
from sigstore.models import Bundle
from sigstore.sign import SigningContext

from blindllama.measurements import MEASUREMENTS_TYPE
from supply_chain import process
from supply_chain.local_sigstore import running
from supply_chain.local_sigstore.oidc import ISSUER
from supply_chain.local_sigstore.trust_root import signing_config
from tests.simulators.sigstore_client import IDENTITY, by, verifier_of
from tests.stock.conftest import ARTIFACT, PROVENANCE

if TYPE_CHECKING:
    from collections.abc import Callable

    from supply_chain.attest.statement import Statement as OwnStatement
    from supply_chain.local_sigstore import LocalSigstore
    from supply_chain.process import Completed

pytestmark = pytest.mark.sigstore
VERSIONS = ("2", "3")
ATTESTATION, BLOB = "verify-blob-attestation", "verify-blob"


class Cosign:
    """One version of the program, over one trusted root."""

    def __init__(self, program: Path, version: str, home: Path, trusted_root: str) -> None:
        self.version = version
        self._program = program
        self._home = home
        self._root = home / "trusted_root.json"
        self._root.write_text(trusted_root)

    def verify(
        self,
        command: str,
        bundle: Path,
        artifact: Path,
        *options: str,
        identity: str = IDENTITY,
        issuer: str = ISSUER,
    ) -> Completed:
        # The second version has to be told what is the only format of the third.
        form = ["--new-bundle-format"] if self.version == "2" else []
        if command == ATTESTATION and not options:
            options = ("--type=slsaprovenance1",)
        return self.run(
            command,
            *form,
            f"--bundle={bundle}",
            f"--trusted-root={self._root}",
            f"--certificate-identity={identity}",
            f"--certificate-oidc-issuer={issuer}",
            *options,
            str(artifact),
        )

    def run(self, *arguments: str, **env: str) -> Completed:
        return process.run(
            [str(self._program), *arguments],
            env={"HOME": str(self._home), **env},
            timeout_s=60,
            check=False,
        )


@pytest.fixture(params=VERSIONS)
def cosign(
    request: pytest.FixtureRequest,
    cosign_at: Callable[[str], Path],
    tmp_path: Path,
    instance: LocalSigstore,
) -> Cosign:
    return Cosign(cosign_at(request.param), request.param, tmp_path, instance.trusted_root_json)


def statement(instance: LocalSigstore, folder: Path, content: OwnStatement = PROVENANCE) -> Path:
    context = SigningContext.from_trust_config(instance.trust_config)
    with context.signer(instance.identity_token(IDENTITY)) as signer:
        text = signer.sign_dsse(Statement(content.to_bytes())).to_json()
    path = folder / "statement.sigstore.json"
    path.write_text(text)
    return path


def message(instance: LocalSigstore, folder: Path) -> Path:
    context = SigningContext.from_trust_config(instance.trust_config)
    with context.signer(instance.identity_token(IDENTITY)) as signer:
        text = signer.sign_artifact(ARTIFACT).to_json()
    path = folder / "message.sigstore.json"
    path.write_text(text)
    return path


def said(done: Completed) -> str:
    return (done.stdout + done.stderr).decode()


def test_a_statement_verifies(
    cosign: Cosign, instance: LocalSigstore, artifact: Path, tmp_path: Path
) -> None:
    bundle = statement(instance, tmp_path)
    for more in ((), ("--use-signed-timestamps",)):
        done = cosign.verify(ATTESTATION, bundle, artifact, "--type=slsaprovenance1", *more)
        assert (done.returncode, "Verified OK" in said(done)) == (0, True), said(done)


def test_a_message_verifies(
    cosign: Cosign, instance: LocalSigstore, artifact: Path, tmp_path: Path
) -> None:
    done = cosign.verify(BLOB, message(instance, tmp_path), artifact)
    assert (done.returncode, "Verified OK" in said(done)) == (0, True), said(done)


@pytest.mark.parametrize(
    ("identity", "issuer"),
    [("https://blindllama.dev/somebody", ISSUER), (IDENTITY, "https://elsewhere.example")],
)
def test_another_signer_is_refused(
    cosign: Cosign,
    instance: LocalSigstore,
    artifact: Path,
    tmp_path: Path,
    identity: str,
    issuer: str,
) -> None:
    for command, bundle in (
        (ATTESTATION, statement(instance, tmp_path)),
        (BLOB, message(instance, tmp_path)),
    ):
        done = cosign.verify(command, bundle, artifact, identity=identity, issuer=issuer)
        assert done.returncode != 0
        assert "no matching CertificateIdentity found" in said(done)


def test_another_subject_is_refused(
    cosign: Cosign, instance: LocalSigstore, artifact: Path, tmp_path: Path
) -> None:
    artifact.write_bytes(b"another artifact\n")
    done = cosign.verify(ATTESTATION, statement(instance, tmp_path), artifact)
    assert done.returncode != 0
    assert re.search(r"artifact digests? do(es)? not match", said(done))
    done = cosign.verify(BLOB, message(instance, tmp_path), artifact)
    assert done.returncode != 0
    assert "could not verify message: invalid signature" in said(done)


def test_another_trusted_root_is_refused(
    cosign_at: Callable[[str], Path],
    instance: LocalSigstore,
    artifact: Path,
    tmp_path: Path,
) -> None:
    with running(tmp_path / "stranger") as stranger:
        root = stranger.trusted_root_json
    for version in VERSIONS:
        other = Cosign(cosign_at(version), version, tmp_path, root)
        done = other.verify(ATTESTATION, statement(instance, tmp_path), artifact)
        assert done.returncode != 0
        assert "not enough verified log entries" in said(done)


def test_a_type_of_this_project_verifies(
    cosign: Cosign, instance: LocalSigstore, artifact: Path, tmp_path: Path
) -> None:
    own = PROVENANCE.model_copy(update={"predicate_type": MEASUREMENTS_TYPE})
    bundle = statement(instance, tmp_path, own)
    done = cosign.verify(ATTESTATION, bundle, artifact, f"--type={MEASUREMENTS_TYPE}")
    assert (done.returncode, "Verified OK" in said(done)) == (0, True), said(done)


def test_another_type_is_refused_by_the_third_version_alone(
    cosign: Cosign, instance: LocalSigstore, artifact: Path, tmp_path: Path
) -> None:
    bundle = statement(instance, tmp_path)
    done = cosign.verify(ATTESTATION, bundle, artifact, "--type=spdxjson")
    if cosign.version == "2":
        # 2.5.0 takes --type and does not look at it: whoever verifies with it has to compare the
        # predicate type by other means. docs/adr/0002 says so.
        assert (done.returncode, "Verified OK" in said(done)) == (0, True), said(done)
    else:
        assert done.returncode != 0
        assert "invalid predicate type, expected spdxjson" in said(done)


def test_an_entry_of_the_second_log_verifies_in_the_third_version_alone(
    cosign: Cosign, second: LocalSigstore, artifact: Path, tmp_path: Path
) -> None:
    done = cosign.verify(ATTESTATION, statement(second, tmp_path), artifact)
    if cosign.version == "2":
        assert done.returncode != 0
        assert "nil value in transaction log entry" in said(done)
    else:
        assert (done.returncode, "Verified OK" in said(done)) == (0, True), said(done)


@pytest.mark.parametrize("log", ["v1", "v2"])
def test_the_third_version_signs_with_this_instance(
    cosign_at: Callable[[str], Path],
    instance: LocalSigstore,
    artifact: Path,
    tmp_path: Path,
    log: str,
) -> None:
    program = Cosign(cosign_at("3"), "3", tmp_path, instance.trusted_root_json)
    config = tmp_path / "signing_config.json"
    config.write_text(json.dumps(signing_config(instance.url, 1 if log == "v1" else 2)))
    bundle = tmp_path / "bundle.json"
    done = program.run(
        "sign-blob",
        f"--signing-config={config}",
        f"--trusted-root={tmp_path / 'trusted_root.json'}",
        f"--bundle={bundle}",
        "--yes",
        str(artifact),
        SIGSTORE_ID_TOKEN=str(instance.identity_token(IDENTITY)),
    )
    assert done.returncode == 0, said(done)
    verifier_of(instance.trusted_root_json).verify_artifact(
        ARTIFACT, Bundle.from_json(bundle.read_text()), by()
    )
