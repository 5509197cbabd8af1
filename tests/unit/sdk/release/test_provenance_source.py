"""S1 on GitHub: what the certificate says about the source, against what the predicate says.

The certificate is a real one of the public instance; the statement around it is ours, since nobody
has built this product on GitHub yet.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import JsonValue

from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.provenance import BUILD_TYPE, VerifiedProvenance, verify_provenance
from blindllama._release.statement import VerifiedStatement
from blindllama._release.trust import trust_root
from blindllama.errors import Code, FormatError, ProvenanceError
from blindllama.policy import GITHUB_ISSUER, GithubSource, SignerPolicy, SigstorePolicy

BUILDER = "https://github.com/bazel-contrib/.github/.github/workflows/release_ruleset.yaml@refs/tags/v7.1.0"
SIGNER = SignerPolicy(
    issuer=GITHUB_ISSUER,
    identity=BUILDER,
    builder_id=BUILDER,
    github=GithubSource(
        repository="https://github.com/aspect-build/rules_lint",
        workflow=".github/workflows/release.yml",
        ref="refs/heads/publish-to-bcr",
    ),
)
COMMIT = "8f70009fde0c94ade6ce2a054b94718c819126ec"
SOURCE: dict[str, Any] = {
    "name": "source",
    "uri": "git+https://github.com/aspect-build/rules_lint@refs/heads/publish-to-bcr",
    "digest": {"gitCommit": COMMIT},
}


def provenance(
    folder: Path,
    *sources: dict[str, Any],
    builder: str = BUILDER,
    internal: dict[str, Any] | None = None,
    signer: SignerPolicy = SIGNER,
) -> VerifiedProvenance:
    text = (folder / "trusted_root.production.json").read_text()
    bundles = BundleVerifier(
        trust=trust_root(text),
        require=SigstorePolicy(trusted_root=text, require_timestamp=False),
    )
    place = folder / "slsa-v1-good" / "rules_lint-v1.3.1.tar.gz.intoto.jsonl"
    envelope = bundles.verify_dsse(
        json.loads(place.read_text()),
        Signer(issuer=SIGNER.issuer, identity=SIGNER.identity, github=SIGNER.github),
    )
    predicate: JsonValue = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"step": "engine", "spec": {}},
            "internalParameters": internal or {},
            "resolvedDependencies": list(sources),
        },
        "runDetails": {"builder": {"id": builder}},
    }
    statement = VerifiedStatement(
        subjects={},
        predicate=predicate,
        digest="00" * 32,
        certificate=envelope.certificate,
        signed_at=envelope.signed_at,
    )
    return verify_provenance(statement, signer)


def test_certificate_and_predicate_agree(public_data: Path) -> None:
    assert provenance(public_data, SOURCE).step == "engine"


@pytest.mark.parametrize(
    "sources",
    [
        (),
        (SOURCE, SOURCE | {"name": "another"}),
        (SOURCE | {"name": "another"},),
        (SOURCE | {"digest": {"gitCommit": "0" * 40}},),
        (SOURCE | {"uri": "git+https://github.com/aspect-build/rules_lint@refs/heads/main"},),
        (SOURCE | {"uri": "git+https://github.com/somebody/rules_lint@refs/heads/publish-to-bcr"},),
        ({key: value for key, value in SOURCE.items() if key != "uri"},),
    ],
)
def test_a_predicate_that_lies_about_its_source(
    public_data: Path, sources: tuple[dict[str, Any], ...]
) -> None:
    with pytest.raises(ProvenanceError) as caught:
        provenance(public_data, *sources)
    assert caught.value.code is Code.PROVENANCE_SOURCE


def test_a_predicate_that_lies_about_its_builder(public_data: Path) -> None:
    with pytest.raises(ProvenanceError) as caught:
        provenance(public_data, SOURCE, builder=BUILDER.replace("v7.1.0", "v7.0.0"))
    assert caught.value.code is Code.PROVENANCE_BUILDER


def runner(environment: str) -> dict[str, Any]:
    return {"github": {"runner_environment": environment}}


def test_certificate_and_predicate_agree_on_the_runner(public_data: Path) -> None:
    assert provenance(public_data, SOURCE, internal=runner("github-hosted")).step == "engine"


def test_a_predicate_that_lies_about_its_runner(public_data: Path) -> None:
    with pytest.raises(ProvenanceError) as caught:
        provenance(public_data, SOURCE, internal=runner("self-hosted"))
    assert caught.value.code is Code.PROVENANCE_RUNNER


def test_a_runner_of_github_outside_of_it(public_data: Path) -> None:
    local = SignerPolicy(issuer="https://issuer", identity="me", builder_id=BUILDER)
    with pytest.raises(ProvenanceError) as caught:
        provenance(public_data, internal=runner("github-hosted"), signer=local)
    assert caught.value.code is Code.PROVENANCE_RUNNER


@pytest.mark.parametrize(
    "internal",
    [{"secret": "x"}, {"github": {"runner_environment": "github-hosted", "actor": "me"}}],
)
def test_a_builder_says_nothing_else_of_itself(public_data: Path, internal: dict[str, Any]) -> None:
    with pytest.raises(FormatError) as caught:
        provenance(public_data, SOURCE, internal=internal)
    assert caught.value.code is Code.FORMAT_SCHEMA
