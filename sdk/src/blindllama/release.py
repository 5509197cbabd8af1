"""From the evidence file of a release to a `VerifiedRelease`: steps 1 to 5, pure and offline.

The evidence file comes from anywhere: the release's folder, a mirror, the server itself. All trust
is in the policy. The steps, as `docs/verification.md` numbers them:

1. The policy is whole (it was checked when it was made).
2. Every Sigstore bundle and the statement in it: signature, signer, type, builder, source.
3. The chain: layout, links, provenance, measurements and index tell one story.
4. The release is not older than what the caller knows, nor expired, taken back or a debug image.
5. The expected PCRs for the caller's platform, from the measurements statement alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from blindllama._platform.registry import platform_named
from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.chain import (
    all_products,
    check_index,
    check_measurements,
    check_provenance,
)
from blindllama._release.index import INDEX_TYPE, Index, check_freshness, verify_index
from blindllama._release.layout import VerifiedLayout, verify_layout
from blindllama._release.link import VerifiedStep, verify_links
from blindllama._release.provenance import (
    PROVENANCE_TYPE,
    VerifiedProvenance,
    verify_provenance,
)
from blindllama._release.rebuild import verify_rebuilds
from blindllama._release.statement import VerifiedStatement, verify_statement
from blindllama._release.trust import trust_root
from blindllama._strict_json import parse_json, parse_model
from blindllama.errors import Code, MeasurementError, ProvenanceError, RollbackError, UsageError
from blindllama.measurements import (
    MEASUREMENTS_TYPE,
    ExpectedPcrs,
    Measurements,
    MeasurementsPredicate,
    PlatformName,
    Sha256Hex,
    expected_pcrs,
)
from blindllama.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blindllama.policy import Policy
    from blindllama.release_list import Listing

__all__ = ["EVIDENCE_LIMIT", "VerifiedRelease", "verify_release"]

EVIDENCE_LIMIT = 2 << 20
"""Most bytes of an evidence file; a real one has about 280 KiB. JSON that is made to be slow takes
seconds for each of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedRelease:
    """A release that passed steps 1 to 5; only `verify_release` makes one."""

    name: str
    sequence: int
    created: datetime
    expires: datetime
    """Until when this verdict holds: the earliest of the release's expiry, the policy's greatest
    age, the layout's expiry and, with a repository, that of its documents."""
    debug: bool
    """True only where the policy accepts debug images."""
    signer: str
    """The identity that signed every statement."""
    artifacts: Mapping[str, Sha256Hex]
    """Everything that the steps made, by product name (`os-image/os.img`), SHA-256."""
    files: Mapping[str, Sha256Hex]
    """Every file of the release's folder, by its path in it, SHA-256."""
    measurements: Measurements
    """Expected PCRs of every platform that the release supports and this SDK knows."""
    platform: PlatformName
    """The platform of the policy."""

    @property
    def expected(self) -> ExpectedPcrs:
        """The expected PCRs of the policy's platform."""
        return self.measurements[self.platform]


class _Evidence(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    index: JsonValue
    layout: JsonValue
    links: Annotated[list[JsonValue], Field(max_length=64)]
    provenance: Annotated[list[JsonValue], Field(max_length=64)]
    measurements: JsonValue
    rebuilds: Annotated[list[JsonValue], Field(max_length=32)] = []
    """Added after the release was signed: by others, or by nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Statements:
    """What step 2 verified."""

    index: Index
    provenance: tuple[VerifiedProvenance, ...]
    measured: VerifiedStatement
    measurements: MeasurementsPredicate


def verify_release(
    evidence: bytes,
    policy: Policy,
    now: datetime,
    *,
    known_sequence: int | None = None,
    listing: Listing | None = None,
    report: Report | None = None,
) -> VerifiedRelease:
    """Return the release that the evidence proves, by the policy and at the time given.

    Args:
        evidence: The content of a release's `evidence.json`.
        policy: Whom the caller trusts.
        now: The time to verify at, with its time zone; no clock is read.
        known_sequence: The highest sequence number that the caller has accepted before.
        listing: What a repository that the caller trusts says: this release must be its newest.
        report: Takes the results of steps 1 to 5; a new one is made without it.

    Raises:
        VerificationError: a check refused; `report` is on the error.
        UsageError: `now` has no time zone.
    """
    if now.tzinfo is None:
        raise UsageError("time to verify at; expected a time zone; got none")
    report = Report() if report is None else report
    with report.check(1) as detail:
        trust = trust_root(policy.sigstore.trusted_root)
        detail["platform"] = policy.platform
        detail["signer"] = policy.signer.identity
        detail["minimum sequence"] = str(policy.release.minimum_sequence)
    bundles = BundleVerifier(trust=trust, require=policy.sigstore)
    with report.check(2) as detail:
        value = parse_json(evidence, limit=EVIDENCE_LIMIT, step=2, what="release evidence")
        document = parse_model(value, _Evidence, step=2, what="release evidence")
        statements = _verify_statements(document, policy, bundles)
        detail["statements"] = str(len(statements.provenance) + 2)
        detail["builder"] = policy.signer.builder_id
        detail["signed at"] = statements.measured.signed_at.isoformat()
    with report.check(3) as detail:
        layout = verify_layout(
            document.layout, owners=policy.layout.owners, bundles=bundles, now=now
        )
        steps = verify_links(document.links, layout=layout, bundles=bundles)
        _check_chain(statements, layout, steps)
        rebuilt = verify_rebuilds(
            document.rebuilds, policy=policy, index=statements.index, layout=layout, steps=steps
        )
        detail["steps"] = ", ".join(steps)
        detail["layout"] = layout.digest
        detail["layout expires"] = layout.expires.isoformat()
        detail.update({f"{step} rebuilt by": names for step, names in rebuilt.items()})
    with report.check(4) as detail:
        index = statements.index
        detail["release"] = f"{index.name} {index.sequence}"
        detail["checked at"] = now.isoformat(timespec="seconds")
        detail["expires"] = index.expires.isoformat()
        check_freshness(
            index, policy.release, now=now, known_sequence=known_sequence, listing=listing
        )
        _check_image(statements, policy)
    with report.check(5) as detail:
        measurements = _measurements(statements.measurements)
        _check_expected(measurements, policy.platform_name)
        detail["platform"] = policy.platform
        detail["pcrs"] = ", ".join(str(pcr) for pcr in measurements[policy.platform_name].values)
    ends = [index.expires, layout.expires]
    ends.append(index.created + timedelta(days=policy.release.maximum_age_days))
    if listing is not None:
        ends.append(listing.expires)
    return VerifiedRelease(
        name=index.name,
        sequence=index.sequence,
        created=index.created,
        expires=min(ends),
        debug=statements.measurements.debug,
        signer=policy.signer.identity,
        artifacts=MappingProxyType(all_products(steps)),
        files=index.files,
        measurements=measurements,
        platform=policy.platform_name,
    )


def _verify_statements(document: _Evidence, policy: Policy, bundles: BundleVerifier) -> _Statements:
    signer = Signer(
        issuer=policy.signer.issuer,
        identity=policy.signer.identity,
        github=policy.signer.github,
    )

    def statement(bundle: JsonValue, predicate_type: str) -> VerifiedStatement:
        return verify_statement(
            bundle, predicate_type=predicate_type, signer=signer, bundles=bundles
        )

    measured = statement(document.measurements, MEASUREMENTS_TYPE)
    return _Statements(
        index=verify_index(statement(document.index, INDEX_TYPE)),
        provenance=tuple(
            verify_provenance(statement(bundle, PROVENANCE_TYPE), policy.signer)
            for bundle in document.provenance
        ),
        measured=measured,
        measurements=parse_model(
            measured.predicate, MeasurementsPredicate, step=2, what="measurements"
        ),
    )


def _check_chain(
    statements: _Statements,
    layout: VerifiedLayout,
    steps: Mapping[str, VerifiedStep],
) -> None:
    provenance = check_provenance(statements.provenance, layout=layout, steps=steps)
    check_measurements(
        statements.measured,
        statements.measurements,
        layout=layout,
        steps=steps,
        provenance=provenance,
    )
    check_index(statements.index, steps)


def _check_image(statements: _Statements, policy: Policy) -> None:
    if statements.measurements.sequence != statements.index.sequence:
        raise RollbackError(
            "sequence number of the measurements",
            code=Code.RELEASE_SEQUENCE,
            step=4,
            expected=statements.index.sequence,
            got=statements.measurements.sequence,
        )
    if statements.measurements.debug and not policy.debug_images:
        raise ProvenanceError(
            "kind of the image",
            code=Code.RELEASE_DEBUG,
            step=4,
            expected="a production image",
            got="a debug image",
        )


def _measurements(predicate: MeasurementsPredicate) -> Measurements:
    known = {platform.value: platform for platform in PlatformName}
    return MappingProxyType(
        {
            known[name]: expected_pcrs(known[name], wire)
            for name, wire in predicate.platforms.items()
            if name in known
        }
    )


def _check_expected(measurements: Measurements, platform: PlatformName) -> None:
    if platform not in measurements:
        raise MeasurementError(
            "platforms of the measurements",
            code=Code.EXPECTED_PLATFORM,
            step=5,
            expected=platform.value,
            got=sorted(name.value for name in measurements),
        )
    # A register without an expected value would be a register that anything may be in.
    missing = platform_named(platform).enforced - measurements[platform].values.keys()
    if missing:
        raise MeasurementError(
            f"expected PCRs of {platform.value}",
            code=Code.EXPECTED_PCRS,
            step=5,
            expected=f"values for {sorted(missing)} too",
            got=sorted(measurements[platform].values),
        )
