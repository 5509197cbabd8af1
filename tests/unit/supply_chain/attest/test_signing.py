from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest
import requests
from sigstore.models import Bundle

from supply_chain.attest.signing import Signer, bundle_document, signer, statement_in
from supply_chain.attest.statement import Statement, resources
from supply_chain.attest.trust import (
    LOCAL_IDENTITY,
    PublicSigstore,
    SigningError,
    authority,
    sigstore_named,
)
from supply_chain.certificate import Source
from supply_chain.digest import sha256_bytes
from supply_chain.local_sigstore import running
from supply_chain.local_sigstore.github import GITHUB_ISSUER
from supply_chain.private_key import PassphraseError
from tests.simulators.github_runner import RUN, github_job
from tests.simulators.sigstore_client import by, verifier_of

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
        assert found.authority.identity == "https://ci.example/job"
        # No workflow of a hosted service: what it builds claims what a machine's own build claims.
        assert (found.authority.builder_id, found.authority.github) == (LOCAL_IDENTITY, None)
    config = json.loads(ci_job.read_text())
    assert json.loads(root)["tlogs"] == config["trustedRoot"]["tlogs"]
    verifier_of(root).verify_artifact(b"data", bundle, by("https://ci.example/job"))
    assert not (tmp_path / "state").exists()


def test_the_certificate_tells_who_a_workflow_is(tmp_path: Path, github: Path) -> None:
    with authority(tmp_path / "state", public=PublicSigstore(trust_config=github)) as found:
        pass
    assert found.issuer == GITHUB_ISSUER
    assert found.identity == found.builder_id == f"https://github.com/{RUN.builder}"
    assert found.source == Source(
        repository="https://github.com/owner/models",
        workflow=RUN.workflow,
        ref=RUN.ref,
        commit=RUN.commit,
        runner="github-hosted",
    )
    assert found.promises


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"ref": "refs/pull/7/merge"}, "ref: String should match"),
        ({"runner": "somewhere"}, "runner: Input should be"),
    ],
)
def test_a_run_that_no_policy_accepts_signs_nothing(
    tmp_path: Path,
    github: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    complaint: str,
) -> None:
    with running(tmp_path / "public") as instance:
        run = dataclasses.replace(RUN, **change)
        github.write_text(instance.trust_config_json)
        with github_job(instance, run) as variables:
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            with (
                pytest.raises(SigningError, match=complaint) as raised,
                authority(tmp_path, public=PublicSigstore(trust_config=github)),
            ):
                pass
    assert raised.value.code == "build.signing"


def test_a_self_hosted_runner_is_named(
    tmp_path: Path, github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "public") as instance:
        github.write_text(instance.trust_config_json)
        with github_job(instance, dataclasses.replace(RUN, runner="self-hosted")) as variables:
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            with authority(tmp_path, public=PublicSigstore(trust_config=github)) as found:
                pass
    assert found.github is not None
    assert found.github.runner == "self-hosted"


def test_a_log_without_promises_is_known_as_such(
    tmp_path: Path, github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        running(tmp_path / "second", log_version=2) as instance,
        github_job(instance) as variables,
    ):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        github.write_text(instance.trust_config_json)
        with signer(tmp_path, public=PublicSigstore(trust_config=github)) as found:
            bundle = bundle_document(found.sign_bytes(b"data"))
    (entry,) = bundle["verificationMaterial"]["tlogEntries"]
    assert entry["kindVersion"]["version"] == "0.0.2"
    assert not found.authority.promises


def test_asking_who_signs_leaves_nothing_in_the_log(tmp_path: Path, github: Path) -> None:
    with authority(tmp_path, public=PublicSigstore(trust_config=github)):
        pass
    config = json.loads(github.read_text())
    url = config["signingConfig"]["rekorTlogUrls"][0]["url"]
    assert requests.get(f"{url}/api/v1/log", timeout=10).json()["treeSize"] == 1


def test_a_job_that_its_instance_does_not_know_is_refused(
    tmp_path: Path, github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running(tmp_path / "stranger") as stranger, github_job(stranger) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        with (
            pytest.raises(SigningError, match="Signature verification failed") as raised,
            authority(tmp_path, public=PublicSigstore(trust_config=github)),
        ):
            pass
    assert raised.value.code == "build.signing"


def test_a_job_without_the_permission_is_told(
    tmp_path: Path, github: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
    with (
        pytest.raises(SigningError, match="identity token cannot be used") as raised,
        authority(tmp_path, public=PublicSigstore(trust_config=github)),
    ):
        pass
    assert raised.value.code == "build.signing"


def test_an_instance_is_named_by_a_word_or_a_file(tmp_path: Path) -> None:
    config = tmp_path / "config.json"
    config.write_text("{}")
    assert sigstore_named("local") is None
    assert sigstore_named("public") == PublicSigstore()
    assert sigstore_named(str(config)) == PublicSigstore(trust_config=config)
    with pytest.raises(SigningError, match="expected local, public or a trust config") as raised:
        sigstore_named("privat")
    assert raised.value.code == "build.signing"


def test_the_passphrase_of_the_instance_is_handed_down(tmp_path: Path) -> None:
    with signer(tmp_path, passphrase=b"open") as found:
        found.sign_bytes(b"data")
    with pytest.raises(PassphraseError), signer(tmp_path):
        pass


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
