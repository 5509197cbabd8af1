"""The verification summary of a release: the verdict of the client's checks, for those who trust us.

It is made from what `blindllama.verify_release` has returned and from nothing else, so there is no
summary of a release that does not pass.

Source: SLSA v1.2, Verification Summary Attestation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from pydantic import Field

from blindllama.summary import SUMMARY_TYPE
from supply_chain.attest.statement import Digest, Statement, Timestamp, Wire, resources
from supply_chain.digest import Sha256

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from blindllama.release import VerifiedRelease
    from supply_chain.attest.trust import Authority

LOCAL_VERIFIER = "https://blindllama.dev/verifiers/local/v1"
"""A verification on somebody's machine."""
LEVEL = "SLSA_BUILD_LEVEL_1"
"""What a verification of ours can vouch for. A build on somebody's machine is level 1, whatever is
signed; for a higher one the provenance of a hosted builder, not this verdict, is the evidence."""
_SLSA_VERSION = "1.2"
_SITE = "https://blindllama.dev"


class Verifier(Wire):
    """Who has verified."""

    id: str


class Document(Wire):
    """A document that was looked at."""

    uri: str
    digest: Digest


class SummaryPredicate(Wire):
    """The predicate of a verification summary."""

    verifier: Verifier
    time_verified: Annotated[Timestamp, Field(alias="timeVerified")]
    resource_uri: Annotated[str, Field(alias="resourceUri")]
    policy: Document
    input_attestations: Annotated[tuple[Document, ...], Field(alias="inputAttestations")]
    verification_result: Annotated[str, Field(alias="verificationResult")] = "PASSED"
    verified_levels: Annotated[tuple[str, ...], Field(alias="verifiedLevels")] = (LEVEL,)
    slsa_version: Annotated[str, Field(alias="slsaVersion")] = _SLSA_VERSION


def resource_uri(name: str, sequence: int) -> str:
    """The URI of a release."""
    return f"{_SITE}/releases/{quote(name, safe='')}/{sequence}"


def verifier_id(authority: Authority) -> str:
    """Return the name of the verifier who signs so: a hosted workflow, or a machine."""
    return LOCAL_VERIFIER if authority.source is None else authority.identity


def summary_statement(
    verified: VerifiedRelease,
    *,
    verifier: str,
    policy: Sha256,
    documents: Mapping[str, Sha256],
    now: datetime,
) -> Statement:
    """The statement that a release has passed, about everything that its steps made.

    Args:
        verified: What the client's checks returned.
        verifier: Whose verdict it is, a URI.
        policy: Digest of the policy file that was applied.
        documents: Every bundle, link and layout that was looked at, by its path in the release.
        now: When the checks were run.
    """
    resource = resource_uri(verified.name, verified.sequence)
    predicate = SummaryPredicate(
        verifier=Verifier(id=verifier),
        time_verified=now,
        resource_uri=resource,
        policy=Document(
            uri=f"{_SITE}/policies/{quote(verified.name, safe='')}", digest=Digest.of(policy)
        ),
        input_attestations=tuple(
            Document(uri=f"{resource}/{path}", digest=Digest.of(digest))
            for path, digest in sorted(documents.items())
        ),
    )
    wire: dict[str, Any] = predicate.model_dump(by_alias=True, mode="json")
    products = {name: Sha256.from_hex(digest) for name, digest in verified.artifacts.items()}
    return Statement(subject=resources(products), predicate_type=SUMMARY_TYPE, predicate=wire)
