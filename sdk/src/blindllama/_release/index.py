"""The release index: the files of a release, its number, and how long it may be used (step 4).

A signature proves who made a release, not that it is the newest. The index carries a sequence
number against rollback, an expiry and a creation time against a freeze, and what was taken back.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from blindllama._strict_json import parse_model
from blindllama.errors import Code, FormatError, FreshnessError, ProvenanceError, RollbackError
from blindllama.measurements import Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Mapping

    from blindllama._release.statement import VerifiedStatement
    from blindllama.policy import ReleasePolicy
    from blindllama.release_list import Listing

__all__ = ["INDEX_TYPE", "Index", "check_freshness", "verify_index"]

INDEX_TYPE = "https://blindllama.dev/attestation/release-index/v1"
"""The predicate type of a release index; its subjects are the files of the release."""

_STEP = 4
_SKEW = timedelta(minutes=5)
"""How far the caller's clock may be behind the signer's."""

_Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
_Sequence = Annotated[int, Field(ge=1)]


class _Predicate(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    sequence: _Sequence
    created: _Time
    expires: _Time
    revoked: Annotated[tuple[_Sequence, ...], Field(max_length=10_000)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """What the signer says about a release as a whole."""

    name: str
    sequence: int
    created: datetime
    expires: datetime
    revoked: frozenset[int]
    files: Mapping[str, Sha256Hex]
    """Path inside the release's folder to SHA-256."""


def verify_index(statement: VerifiedStatement) -> Index:
    """Return the index in a verified statement.

    Raises:
        FormatError: `format.schema`.
    """
    wire = parse_model(statement.predicate, _Predicate, step=2, what="release index")
    return Index(
        name=wire.name,
        sequence=wire.sequence,
        created=_time(wire.created),
        expires=_time(wire.expires),
        revoked=frozenset(wire.revoked),
        files=statement.subjects,
    )


def check_freshness(
    index: Index,
    policy: ReleasePolicy,
    *,
    now: datetime,
    known_sequence: int | None,
    listing: Listing | None = None,
) -> None:
    """Refuse a release that is not the one to use now.

    Args:
        index: The verified index.
        policy: The caller's demands.
        now: The caller's time; no other clock is read.
        known_sequence: The highest sequence number that the caller has accepted before.
        listing: What the repository says, where the release came from one.

    Raises:
        ProvenanceError: `release.name`.
        RollbackError: `release.below_minimum`, `release.below_memory`, `release.sequence`,
            `release.revoked`.
        FreshnessError: `release.not_yet`, `release.expired`, `release.too_old`.
    """
    for name in (index.name, index.name if listing is None else listing.name):
        if name != policy.name:
            raise ProvenanceError(
                "name of the release",
                code=Code.RELEASE_NAME,
                step=_STEP,
                expected=policy.name,
                got=name,
            )
    _check_sequence(index, policy, known_sequence)
    if listing is not None and index.sequence != listing.newest:
        raise RollbackError(
            "sequence number of the release",
            code=Code.RELEASE_SEQUENCE,
            step=_STEP,
            expected=f"{listing.newest} (the newest of the repository)",
            got=index.sequence,
        )
    _check_revoked(index, policy, frozenset() if listing is None else listing.revoked)
    _check_times(index, policy, now)


def _check_sequence(index: Index, policy: ReleasePolicy, known: int | None) -> None:
    for code, least, whose in (
        (Code.RELEASE_BELOW_MINIMUM, policy.minimum_sequence, "the policy's minimum"),
        (Code.RELEASE_BELOW_MEMORY, known or 0, "accepted before"),
    ):
        if index.sequence < least:
            raise RollbackError(
                "sequence number of the release",
                code=code,
                step=_STEP,
                expected=f"at least {least} ({whose})",
                got=index.sequence,
            )


def _check_revoked(index: Index, policy: ReleasePolicy, listed: frozenset[int]) -> None:
    if index.sequence in index.revoked | listed or index.sequence in policy.revoked:
        raise RollbackError(
            "sequence number of the release",
            code=Code.RELEASE_REVOKED,
            step=_STEP,
            expected="one that was not taken back",
            got=index.sequence,
        )


def _check_times(index: Index, policy: ReleasePolicy, now: datetime) -> None:
    oldest = now - timedelta(days=policy.maximum_age_days)
    for code, holds, what, expected, got in (
        (
            Code.RELEASE_NOT_YET,
            index.created <= now + _SKEW,
            "creation",
            f"before {now}",
            index.created,
        ),
        (Code.RELEASE_EXPIRED, now < index.expires, "expiry", f"after {now}", index.expires),
        (
            Code.RELEASE_TOO_OLD,
            index.created >= oldest,
            "creation",
            f"after {oldest} ({policy.maximum_age_days} days)",
            index.created,
        ),
    ):
        if not holds:
            raise FreshnessError(
                f"{what} of the release", code=code, step=_STEP, expected=expected, got=str(got)
            )


def _time(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError as exc:
        raise FormatError(
            "time in the release index",
            code=Code.FORMAT_SCHEMA,
            step=2,
            expected="YYYY-MM-DDThh:mm:ssZ",
            got=text,
        ) from exc
