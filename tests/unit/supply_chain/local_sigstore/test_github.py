"""A rehearsed workflow has the certificate that a real one would have, extension by extension."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
from sigstore.sign import SigningContext
from sigstore.verify import policy

from supply_chain.certificate import Source, holder_of
from supply_chain.local_sigstore.exchange import RefusedError
from supply_chain.local_sigstore.github import (
    GITHUB_ISSUER,
    workflow_extensions,
    workflow_identity,
)
from tests.simulators.github_runner import RUN
from tests.simulators.sigstore_client import verifier_of

if TYPE_CHECKING:
    from cryptography.x509 import Certificate
    from sigstore.models import Bundle

    from supply_chain.local_sigstore import LocalSigstore

SITE = "https://github.com"
BUILDER = f"{SITE}/{RUN.builder}"


@pytest.fixture(scope="module")
def bundle(instance: LocalSigstore, context: SigningContext) -> Bundle:
    with context.signer(instance.workflow_token(RUN)) as signer:
        return signer.sign_artifact(b"data")


@pytest.fixture(scope="module")
def certificate(bundle: Bundle) -> Certificate:
    return bundle.signing_certificate


@pytest.mark.parametrize(
    "claim",
    [
        policy.Identity(identity=BUILDER, issuer=GITHUB_ISSUER),
        policy.OIDCIssuerV2(GITHUB_ISSUER),
        policy.OIDCBuildSignerURI(BUILDER),
        policy.OIDCBuildSignerDigest("2" * 40),
        policy.OIDCRunnerEnvironment("github-hosted"),
        policy.OIDCSourceRepositoryURI(f"{SITE}/owner/models"),
        policy.OIDCSourceRepositoryDigest("1" * 40),
        policy.OIDCSourceRepositoryRef("refs/tags/v1.0.0"),
        policy.OIDCSourceRepositoryIdentifier("1"),
        policy.OIDCSourceRepositoryOwnerURI(f"{SITE}/owner"),
        policy.OIDCSourceRepositoryOwnerIdentifier("1"),
        policy.OIDCBuildConfigURI(
            f"{SITE}/owner/models/.github/workflows/release.yml@refs/tags/v1.0.0"
        ),
        policy.OIDCBuildConfigDigest("1" * 40),
        policy.OIDCBuildTrigger("push"),
        policy.OIDCRunInvocationURI(f"{SITE}/owner/models/actions/runs/1/attempts/1"),
        policy.OIDCSourceRepositoryVisibility("public"),
    ],
)
def test_the_stock_policies_find_every_claim(
    bundle: Bundle, instance: LocalSigstore, claim: policy.VerificationPolicy
) -> None:
    verifier_of(instance.trusted_root_json).verify_artifact(b"data", bundle, claim)


def test_the_holder_is_read_from_the_certificate(certificate: Certificate) -> None:
    holder = holder_of(certificate)
    assert (holder.identity, holder.issuer) == (BUILDER, GITHUB_ISSUER)
    assert holder.source == Source(
        repository=f"{SITE}/owner/models",
        workflow=".github/workflows/release.yml",
        ref="refs/tags/v1.0.0",
        commit="1" * 40,
        runner="github-hosted",
    )


def test_another_identity_has_no_source(dsse_bundle: Bundle) -> None:
    assert holder_of(dsse_bundle.signing_certificate).source is None


def test_a_certificate_of_another_kind_has_no_holder(instance: LocalSigstore) -> None:
    (authority, *_) = instance._identities.fulcio.chain
    with pytest.raises(ValueError, match="expected a certificate with one identity"):
        holder_of(authority)


@pytest.mark.parametrize("claim", ["job_workflow_ref", "sha", "ref", "runner_environment"])
def test_a_token_without_a_claim_gets_no_certificate(claim: str) -> None:
    claims = {name: value for name, value in RUN.claims.items() if name != claim}
    with pytest.raises(RefusedError, match=f"the claim '{claim}' is missing") as raised:
        workflow_identity(claims)
        workflow_extensions(claims)
    assert raised.value.status == 400


def test_another_commit_is_another_certificate(
    instance: LocalSigstore, context: SigningContext
) -> None:
    other = dataclasses.replace(RUN, commit="3" * 40)
    with context.signer(instance.workflow_token(other)) as signer:
        holder = holder_of(signer.sign_artifact(b"data").signing_certificate)
    assert holder.source is not None
    assert holder.source.commit == "3" * 40
