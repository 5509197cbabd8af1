from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sigstore.models import Bundle

from supply_chain.attest.signing import Signer, bundle_document, signer, statement_in
from supply_chain.attest.statement import Statement, resources
from supply_chain.attest.trust import LOCAL_IDENTITY, PublicSigstore, SigningError, authority
from supply_chain.digest import sha256_bytes
from tests.simulators.sigstore_client import by, verifier_of

if TYPE_CHECKING:
    pass

STATEMENT = Statement(
    subject=resources({"disk": sha256_bytes(b"disk")}),
    predicate_type="https://blindllama.dev/test/v1",
    predicate={"count": 1},
)


def test_a_statement_is_signed_byte_for_byte(signing: Signer) -> None:
    bundle = signing.sign_statement(STATEMENT)
    assert statement_in(bundle) == STATEMENT.to_bytes()
    kind, payload = verifier_of(signing.authority.trusted_root_json).verify_dsse(
        Bundle.from_json(bundle), by(LOCAL_IDENTITY)
    )
    assert (kind, payload) == ("application/vnd.in-toto+json", STATEMENT.to_bytes())


def test_bytes_are_signed_as_a_message(signing: Signer) -> None:
    bundle = signing.sign_bytes(b"data")
    verifier_of(signing.authority.trusted_root_json).verify_artifact(
        b"data", Bundle.from_json(bundle), by(LOCAL_IDENTITY)
    )
    assert "messageSignature" in bundle_document(bundle)
    with pytest.raises(SigningError, match="expected a DSSE envelope") as raised:
        statement_in(bundle)
    assert raised.value.code == "build.signing"


def test_each_signature_has_a_certificate_of_its_own(signing: Signer) -> None:
    first, second = (Bundle.from_json(signing.sign_bytes(b"data")) for _ in range(2))
    assert first.signing_certificate != second.signing_certificate


def test_an_identity_may_be_chosen(tmp_path: Path) -> None:
    with signer(tmp_path, identity="me@blindllama.dev") as found:
        bundle = Bundle.from_json(found.sign_bytes(b"data"))
        root = found.authority.trusted_root_json
    verifier_of(root).verify_artifact(b"data", bundle, by("me@blindllama.dev"))


def test_an_identity_that_is_none_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(SigningError, match="identity: expected") as raised,
        signer(tmp_path, identity="nobody"),
    ):
        pass
    assert raised.value.code == "build.signing"


def test_an_instance_that_has_ended_signs_nothing(tmp_path: Path) -> None:
    with signer(tmp_path) as found:
        pass
    with pytest.raises(SigningError, match="Sigstore") as raised:
        found.sign_bytes(b"data")
    assert raised.value.code == "build.signing"


def test_a_proxy_of_the_environment_is_not_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.delenv("no_proxy", raising=False)
    with signer(tmp_path) as found:
        assert os.environ["NO_PROXY"] == "intranet.example,127.0.0.1,localhost"
        found.sign_bytes(b"data")
    assert os.environ["NO_PROXY"] == "intranet.example"
    assert "no_proxy" not in os.environ


def test_the_local_instance_is_the_default(tmp_path: Path) -> None:
    with authority(tmp_path) as found:
        assert found.issuer == "https://oidc.sigstore.localhost"
        assert found.identity == LOCAL_IDENTITY


@pytest.mark.usefixtures("outside_ci")
def test_a_public_instance_needs_an_identity_of_the_environment(tmp_path: Path) -> None:
    with (
        pytest.raises(SigningError, match="no identity token in this environment") as raised,
        authority(tmp_path, public=PublicSigstore()),
    ):
        pass
    assert raised.value.code == "build.signing"
    assert not list(tmp_path.iterdir())


def test_a_ci_job_signs_with_the_instance_of_a_trust_configuration(
    tmp_path: Path, ci_job: Path
) -> None:
    public = PublicSigstore(trust_config=ci_job)
    with signer(tmp_path / "state", public=public) as found:
        bundle = Bundle.from_json(found.sign_bytes(b"data"))
        root = found.authority.trusted_root_json
        assert found.authority.identity is None
    config = json.loads(ci_job.read_text())
    assert json.loads(root)["tlogs"] == config["trustedRoot"]["tlogs"]
    verifier_of(root).verify_artifact(b"data", bundle, by("https://ci.example/job"))
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("content", [None, "{}", "not JSON"])
def test_a_trust_configuration_that_is_none_is_refused(
    tmp_path: Path, ci_job: Path, content: str | None
) -> None:
    config = ci_job.with_name("other.json")
    if content is not None:
        config.write_text(content)
    with (
        pytest.raises(SigningError, match="trust configuration cannot be used") as raised,
        authority(tmp_path, public=PublicSigstore(trust_config=config)),
    ):
        pass
    assert raised.value.code == "build.signing"
