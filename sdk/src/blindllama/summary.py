"""SLSA verification summaries: somebody else's verdict on a release, for whoever trusts them.

Whoever cannot run all the checks (an admission controller, an inventory) can believe a verifier
that has: a summary (VSA) names what was verified, by which policy, from which documents, and which
build level that came to. It replaces no check of `verify_release`, which never looks at one.

`verify_summary` follows the specification's steps, all of them mandatory:

1. The signature on the envelope, against the trust root that the caller gives.
2. The subject: every artifact that the caller has in hand is one of the summary's, by digest.
3. The predicate type is that of a summary.
4. The verifier that the predicate names is the one that this signer may speak for.
5. The resource is the one that the caller expects.
6. The result is PASSED.
7. The levels include the one that the caller expects.

Beyond them: the verdict is not older than the caller allows, and was not given in the future, nor
before its signature's established time; the policy was the expected one, where the caller knows it.

Source: SLSA v1.2, Verification Summary Attestation, "How to verify".
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field

from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.statement import verify_statement
from blindllama._release.trust import trust_root
from blindllama._strict_json import parse_json, parse_model
from blindllama.errors import Code, FreshnessError, ProvenanceError, UsageError
from blindllama.measurements import DigestSet, Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blindllama.policy import SigstorePolicy, VerifierPolicy

__all__ = ["SUMMARY_TYPE", "VerifiedSummary", "verify_summary"]

SUMMARY_TYPE = "https://slsa.dev/verification_summary/v1"

_STEP = 2
_LIMIT = 1 << 20
_SKEW = timedelta(minutes=5)
_BUILD_LEVEL = re.compile(r"SLSA_BUILD_LEVEL_([0-3])")

_Text = Annotated[str, Field(min_length=1, max_length=2048)]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Verifier(_Wire):
    id: _Text
    version: Annotated[dict[str, _Text], Field(max_length=16)] = Field(default_factory=dict)


class _Document(_Wire):
    uri: _Text
    digest: DigestSet


class _Predicate(_Wire):
    verifier: _Verifier
    time: Annotated[str, Field(alias="timeVerified", pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    resource: Annotated[_Text, Field(alias="resourceUri")]
    policy: _Document
    inputs: Annotated[
        tuple[_Document, ...], Field(alias="inputAttestations", min_length=1, max_length=256)
    ]
    result: Annotated[_Text, Field(alias="verificationResult")]
    levels: Annotated[tuple[_Text, ...], Field(alias="verifiedLevels", min_length=1, max_length=16)]
    version: Annotated[str, Field(alias="slsaVersion", pattern=r"^1\.[0-9]{1,2}$")]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedSummary:
    """A verdict that passed, by a verifier whom the caller believes."""

    verifier: str
    resource: str
    levels: tuple[str, ...]
    verified_at: datetime
    artifacts: Mapping[str, Sha256Hex]
    """Everything that the verdict is about, by name."""
    policy: str
    """URI of the policy that the verifier applied."""
    policy_sha256: Sha256Hex
    inputs: Mapping[str, Sha256Hex]
    """URI to SHA-256 of every document that the verifier has seen."""


def verify_summary(  # noqa: PLR0913 - each argument is a separate demand of the caller
    bundle: bytes,
    *,
    verifier: VerifierPolicy,
    sigstore: SigstorePolicy,
    resource: str,
    artifacts: Mapping[str, Sha256Hex],
    now: datetime,
    level: int = 1,
    maximum_age: timedelta = timedelta(days=90),
    policy_sha256: Sha256Hex | None = None,
) -> VerifiedSummary:
    """Return the summary in a Sigstore bundle, once all of the steps above hold.

    Args:
        bundle: The bundle, JSON.
        verifier: Whom the caller believes.
        sigstore: The trust root, and what a bundle must carry; of a `Policy`, or the caller's own.
        resource: What the verdict must be about, such as
            `https://blindllama.dev/releases/NAME/SEQUENCE`.
        artifacts: Name and SHA-256 of what the caller has in hand; at least one.
        now: The time to verify at, with its time zone; no clock is read.
        level: The lowest SLSA build level that will do.
        maximum_age: How old a verdict may be.
        policy_sha256: The policy that must have been applied; any when None.

    Raises:
        VerificationError: `summary.*`; `bundle.*`, `statement.*` or `format.*` for what is around it.
        UsageError: there is no artifact, or `now` has no time zone.
    """
    if not artifacts or now.tzinfo is None:
        raise UsageError("summary; expected an artifact and a time with its zone")
    document = parse_json(bundle, limit=_LIMIT, step=_STEP, what="verification summary")
    statement = verify_statement(
        document,
        predicate_type=SUMMARY_TYPE,
        signer=Signer(issuer=verifier.issuer, identity=verifier.identity, github=verifier.github),
        bundles=BundleVerifier(trust=trust_root(sigstore.trusted_root), require=sigstore),
    )
    said = parse_model(statement.predicate, _Predicate, step=_STEP, what="verification summary")
    for name, digest in artifacts.items():
        _equal(f"subject {name}", Code.SUMMARY_SUBJECT, digest, statement.subjects.get(name))
    _equal("verifier", Code.SUMMARY_VERIFIER, verifier.id, said.verifier.id)
    _equal("resource", Code.SUMMARY_RESOURCE, resource, said.resource)
    _equal("result", Code.SUMMARY_RESULT, "PASSED", said.result)
    _check_level(said.levels, level)
    if policy_sha256 is not None:
        _equal("policy", Code.SUMMARY_POLICY, policy_sha256, said.policy.digest.sha256)
    verified_at = datetime.strptime(said.time, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    _check_time(verified_at, signed_at=statement.signed_at, now=now, maximum_age=maximum_age)
    return VerifiedSummary(
        verifier=said.verifier.id,
        resource=said.resource,
        levels=said.levels,
        verified_at=verified_at,
        artifacts=statement.subjects,
        policy=said.policy.uri,
        policy_sha256=said.policy.digest.sha256,
        inputs=MappingProxyType({entry.uri: entry.digest.sha256 for entry in said.inputs}),
    )


def _check_level(levels: tuple[str, ...], least: int) -> None:
    """Refuse a lower build level, and more than one: the track has one level at a time."""
    found = [int(match[1]) for text in levels if (match := _BUILD_LEVEL.fullmatch(text))]
    if len(found) != 1 or found[0] < least:
        raise ProvenanceError(
            "levels of a verification summary",
            code=Code.SUMMARY_LEVEL,
            step=_STEP,
            expected=f"one build level, at least {least}",
            got=list(levels),
        )


def _check_time(
    verified_at: datetime, *, signed_at: datetime, now: datetime, maximum_age: timedelta
) -> None:
    latest = min(now, signed_at) + _SKEW
    if verified_at > latest:
        raise FreshnessError(
            "time of a verification summary",
            code=Code.SUMMARY_NOT_YET,
            step=_STEP,
            expected=f"before {latest}",
            got=str(verified_at),
        )
    if verified_at < now - maximum_age:
        raise FreshnessError(
            "time of a verification summary",
            code=Code.SUMMARY_TOO_OLD,
            step=_STEP,
            expected=f"after {now - maximum_age}",
            got=str(verified_at),
        )


def _equal(what: str, code: Code, expected: str, got: str | None) -> None:
    if got != expected:
        raise ProvenanceError(
            f"{what} of a verification summary",
            code=code,
            step=_STEP,
            expected=expected,
            got=got or "none",
        )
