"""Real bundles from the public instance: accepted and refused as their makers say."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from blindllama._release.bundle import BundleVerifier, Signer, VerifiedEnvelope
from blindllama._release.trust import trust_root
from blindllama.errors import Code, ProvenanceError
from blindllama.policy import GITHUB_ISSUER, GithubSource, SigstorePolicy

SLSA = {
    "rules_lint-v1.3.1.tar.gz.intoto.jsonl": (
        "https://github.com/bazel-contrib/.github/.github/workflows/release_ruleset.yaml"
        "@refs/tags/v7.1.0"
    ),
    "MODULE.bazel.intoto.jsonl": (
        "https://github.com/bazel-contrib/publish-to-bcr/.github/workflows/publish.yaml"
        "@refs/tags/v0.0.1"
    ),
}
SOURCE = GithubSource(
    repository="https://github.com/aspect-build/rules_lint",
    workflow=".github/workflows/release.yml",
    ref="refs/heads/publish-to-bcr",
)
CONFORMANCE = Signer(
    issuer=GITHUB_ISSUER,
    identity=(
        "https://github.com/sigstore-conformance/extremely-dangerous-public-oidc-beacon"
        "/.github/workflows/extremely-dangerous-oidc-beacon.yml@refs/heads/main"
    ),
)


def verifier(root: Path, *, stamp: bool = False, promise: bool = False) -> BundleVerifier:
    text = root.read_text()
    return BundleVerifier(
        trust=trust_root(text),
        require=SigstorePolicy(
            trusted_root=text, require_timestamp=stamp, require_inclusion_promise=promise
        ),
    )


def slsa(folder: Path, name: str, signer: Signer, **require: bool) -> VerifiedEnvelope:
    document = json.loads((folder / "slsa-v1-good" / name).read_text())
    bundles = verifier(folder / "trusted_root.production.json", **require)
    return bundles.verify_dsse(document, signer)


@pytest.mark.parametrize("name", sorted(SLSA))
def test_real_provenance_is_accepted(public_data: Path, name: str) -> None:
    signer = Signer(issuer=GITHUB_ISSUER, identity=SLSA[name], github=SOURCE)
    envelope = slsa(public_data, name, signer, promise=True)
    statement = json.loads(envelope.payload)
    assert statement["predicateType"] == "https://slsa.dev/provenance/v1"
    assert envelope.signed_at.year == 2025


@pytest.mark.parametrize("name", sorted(SLSA))
def test_real_provenance_without_a_stamp_is_refused_where_one_is_required(
    public_data: Path, name: str
) -> None:
    signer = Signer(issuer=GITHUB_ISSUER, identity=SLSA[name], github=SOURCE)
    with pytest.raises(ProvenanceError) as caught:
        slsa(public_data, name, signer, stamp=True)
    assert caught.value.code is Code.BUNDLE_NO_TIMESTAMP


def source(**changes: str | None) -> GithubSource:
    return GithubSource.model_validate(SOURCE.model_dump() | changes)


CLAIMS: dict[str, tuple[Code, dict[str, Any]]] = {
    "issuer": (Code.BUNDLE_ISSUER, {"issuer": "https://accounts.example"}),
    "repository": (
        Code.BUNDLE_SOURCE,
        {"github": source(repository="https://github.com/somebody/rules_lint")},
    ),
    "repository, the beginning": (
        Code.BUNDLE_SOURCE,
        {"github": source(repository="https://github.com/aspect-build/rules")},
    ),
    "workflow": (Code.BUNDLE_SOURCE, {"github": source(workflow=".github/workflows/test.yml")}),
    "another branch": (Code.BUNDLE_SOURCE, {"github": source(ref="refs/heads/main")}),
    "a tag of the branch's name": (
        Code.BUNDLE_SOURCE,
        {"github": source(ref="refs/tags/publish-to-bcr")},
    ),
    "the beginning of the branch": (
        Code.BUNDLE_SOURCE,
        {"github": source(ref="refs/heads/publish")},
    ),
    "a pattern of tags for a branch": (
        Code.BUNDLE_SOURCE,
        {"github": source(ref=None, ref_pattern="refs/tags/publish*")},
    ),
    "runner": (Code.BUNDLE_RUNNER, {"github": source(runner="self-hosted")}),
}
"""Each claim of the signer, changed alone."""


@pytest.mark.parametrize("name", sorted(SLSA))
@pytest.mark.parametrize("claim", CLAIMS)
def test_real_provenance_fails_with_any_other_identity(
    public_data: Path, name: str, claim: str
) -> None:
    """S1 and S3: the honest signer but for one claim."""
    code, change = CLAIMS[claim]
    signer = replace(Signer(issuer=GITHUB_ISSUER, identity=SLSA[name], github=SOURCE), **change)
    assert refused(public_data, name, signer) is code


@pytest.mark.parametrize("name", sorted(SLSA))
@pytest.mark.parametrize("change", ["one digit", "no ref", "the workflow that called it"])
def test_real_provenance_fails_with_any_other_name(
    public_data: Path, name: str, change: str
) -> None:
    identity = {
        "one digit": SLSA[name][:-1] + "7",
        "no ref": SLSA[name].partition("@")[0],
        "the workflow that called it": f"{SOURCE.repository}/{SOURCE.workflow}@{SOURCE.ref}",
    }[change]
    signer = Signer(issuer=GITHUB_ISSUER, identity=identity, github=SOURCE)
    assert refused(public_data, name, signer) is Code.BUNDLE_IDENTITY


def refused(folder: Path, name: str, signer: Signer) -> Code:
    with pytest.raises(ProvenanceError) as caught:
        slsa(folder, name, signer, promise=True)
    assert caught.value.step == 2
    return caught.value.code


ACCEPTED: dict[str, dict[str, bool]] = {
    "happy-path-v0.3": {"promise": True},
    "rekor2-dsse-happy-path": {"stamp": True},
}
REFUSED = {
    "bundle-from-wrong-instance_fail": Code.BUNDLE_CERTIFICATE,
    "checkpoint-wrong-roothash_fail": Code.BUNDLE_SIGNATURE,
    "dsse-invalid-sig_fail": Code.BUNDLE_SIGNATURE,
    "dsse-mismatch-envelope_fail": Code.BUNDLE_SIGNATURE,
    "invalid-inclusion-proof_fail": Code.BUNDLE_MALFORMED,
    "rekor2-no-timestamp_fail": Code.BUNDLE_MALFORMED,
    "set-invalid-signature_fail": Code.BUNDLE_SIGNATURE,
}


def conformance(folder: Path, case: str, **require: bool) -> None:
    place = folder / "conformance" / case
    document: dict[str, Any] = json.loads((place / "bundle.sigstore.json").read_text())
    root = place / "trusted_root.json"
    bundles = verifier(
        root if root.exists() else folder / "trusted_root.production.json", **require
    )
    if "dsseEnvelope" in document:
        bundles.verify_dsse(document, CONFORMANCE)
        return
    bundles.verify_message(
        document,
        CONFORMANCE,
        message=(folder / "conformance" / "a.txt").read_bytes(),
        signature=base64.b64decode(document["messageSignature"]["signature"]),
    )


@pytest.mark.parametrize("case", sorted(ACCEPTED))
def test_conformance_accepted(public_data: Path, case: str) -> None:
    conformance(public_data, case, **ACCEPTED[case])


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_conformance_refused(public_data: Path, case: str) -> None:
    with pytest.raises(ProvenanceError) as caught:
        conformance(public_data, case)
    assert caught.value.code is REFUSED[case]


def test_a_log_without_promises_is_refused_where_one_is_required(public_data: Path) -> None:
    with pytest.raises(ProvenanceError) as caught:
        conformance(public_data, "rekor2-dsse-happy-path", promise=True)
    assert caught.value.code is Code.BUNDLE_NO_INCLUSION_PROMISE


def test_every_case_is_listed(public_data: Path) -> None:
    there = {path.name for path in (public_data / "conformance").iterdir() if path.is_dir()}
    assert there == ACCEPTED.keys() | REFUSED.keys()
