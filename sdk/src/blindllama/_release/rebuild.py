"""Rebuild statements: who built the release again elsewhere, and whether the same came out.

A rebuilder signs what it made, by digest, for one release and one layout. How many of them must
agree, and who they are, is the caller's decision alone: the layout's owner has no say, and a
statement of somebody whom the policy does not name counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.statement import VerifiedStatement, verify_statement
from blindllama._release.trust import trust_root
from blindllama._strict_json import parse_model
from blindllama.errors import Code, ProvenanceError
from blindllama.measurements import DigestSet

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blindllama._release.index import Index
    from blindllama._release.layout import VerifiedLayout
    from blindllama._release.link import VerifiedStep
    from blindllama.policy import Policy, RebuilderIdentity

__all__ = ["REBUILD_TYPE", "REBUILT", "verify_rebuilds"]

REBUILD_TYPE = "https://blindllama.dev/attestation/rebuild/v1"
REBUILT = ("engine", "app-disk", "os-image")
"""The steps that rebuilders are counted for. `measure` is not among them: its values name the
emulator that a probe ran in, so another machine measures another machine."""

_STEP = 3
_NOT_THEIRS = frozenset(
    {
        Code.BUNDLE_CERTIFICATE,
        Code.BUNDLE_ISSUER,
        Code.BUNDLE_IDENTITY,
        Code.BUNDLE_SOURCE,
        Code.BUNDLE_RUNNER,
    }
)
"""Why a statement is not one of a given rebuilder. All else is a statement of theirs, spoilt."""

_Text = Annotated[str, Field(min_length=1, max_length=512)]
_Time = Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Release(_Wire):
    name: Annotated[str, Field(min_length=1, max_length=200)]
    sequence: Annotated[int, Field(ge=1)]


class _Predicate(_Wire):
    version: Literal[1]
    release: _Release
    layout: DigestSet
    steps: Annotated[tuple[_Text, ...], Field(min_length=1, max_length=16)]
    environment: Annotated[dict[_Text, _Text], Field(max_length=64)]
    """What the rebuilder changed around the build, for people."""
    started_on: Annotated[_Time, Field(alias="startedOn")]
    finished_on: Annotated[_Time, Field(alias="finishedOn")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rebuilder:
    """Somebody in the policy's list, and what verifies their statements."""

    number: int
    """Place in the list: two of them may bear one name under two trust roots."""
    name: str
    signer: Signer
    bundles: BundleVerifier


def verify_rebuilds(
    documents: Sequence[JsonValue],
    *,
    policy: Policy,
    index: Index,
    layout: VerifiedLayout,
    steps: Mapping[str, VerifiedStep],
) -> Mapping[str, str]:
    """Return who has rebuilt each step that counts, as text; empty when the policy wants nobody.

    Args:
        documents: The bundles of the evidence's `rebuilds`.
        policy: Whom the caller wants to have agreed, and how many of them.
        index: The release that the statements must be about.
        layout: The layout likewise.
        steps: The verified steps, with the products to agree on.

    Raises:
        ProvenanceError: `rebuild.*`; or `bundle.*`, `statement.*` of a known rebuilder's statement.
        FormatError: `format.*` when what a known rebuilder signed is not a rebuild statement.
    """
    threshold = policy.rebuilders.threshold
    if not threshold:
        return MappingProxyType({})
    known = _known(policy)
    votes: dict[str, list[_Rebuilder]] = {name: [] for name in REBUILT}
    strangers: list[str] = []
    for document in documents:
        found = _whose(document, known, strangers)
        if found is None:
            continue
        rebuilder, statement = found
        for name in _agreed(rebuilder.name, statement, index=index, layout=layout, steps=steps):
            if name in votes:
                votes[name].append(rebuilder)
    for name, voters in votes.items():
        _count(name, voters, threshold=threshold, strangers=strangers)
    return MappingProxyType(
        {
            name: ", ".join(sorted({voter.number: voter.name for voter in voters}.values()))
            for name, voters in votes.items()
        }
    )


def _known(policy: Policy) -> tuple[_Rebuilder, ...]:
    def verifier(entry: RebuilderIdentity) -> BundleVerifier:
        root = entry.trusted_root or policy.sigstore.trusted_root
        return BundleVerifier(trust=trust_root(root), require=policy.sigstore)

    return tuple(
        _Rebuilder(
            number=number,
            name=entry.identity,
            signer=Signer(issuer=entry.issuer, identity=entry.identity, github=entry.github),
            bundles=verifier(entry),
        )
        for number, entry in enumerate(policy.rebuilders.identities)
    )


def _whose(
    document: JsonValue, known: Sequence[_Rebuilder], strangers: list[str]
) -> tuple[_Rebuilder, VerifiedStatement] | None:
    """Return the first rebuilder of the list who has signed the document, and what it says.

    Always the first one: somebody whom two entries would accept is still one rebuilder.
    """
    reason = ""
    for rebuilder in known:
        try:
            statement = verify_statement(
                document,
                predicate_type=REBUILD_TYPE,
                signer=rebuilder.signer,
                bundles=rebuilder.bundles,
            )
        except ProvenanceError as exc:
            if exc.code not in _NOT_THEIRS:
                raise ProvenanceError(
                    f"rebuild statement of {rebuilder.name}: {exc}", code=exc.code, step=_STEP
                ) from exc
            reason = exc.code
        else:
            return rebuilder, statement
    strangers.append(reason)
    return None


def _agreed(
    who: str,
    statement: VerifiedStatement,
    *,
    index: Index,
    layout: VerifiedLayout,
    steps: Mapping[str, VerifiedStep],
) -> tuple[str, ...]:
    """Return the steps that a rebuilder has carried out with the release's own result."""
    predicate = parse_model(
        statement.predicate, _Predicate, step=_STEP, what=f"rebuild statement of {who}"
    )
    ours = (index.name, index.sequence, layout.digest)
    theirs = (predicate.release.name, predicate.release.sequence, predicate.layout.sha256)
    if theirs != ours:
        raise ProvenanceError(
            f"release that {who} rebuilt",
            code=Code.REBUILD_RELEASE,
            step=_STEP,
            expected="{} {} with layout {}".format(*ours),
            got="{} {} with layout {}".format(*theirs),
        )
    made = {
        name: digest
        for step in predicate.steps
        if step in steps
        for name, digest in steps[step].products.items()
    }
    # Both ways: a file that only one of the two builds has made is a difference as well.
    for name in sorted(made.keys() | statement.subjects.keys()):
        if made.get(name) != statement.subjects.get(name):
            raise ProvenanceError(
                f"{name} as {who} rebuilt it",
                code=Code.REBUILD_DISAGREEMENT,
                step=_STEP,
                expected=made.get(name, "no such file"),
                got=statement.subjects.get(name, "no such file"),
            )
    return predicate.steps


def _count(
    step: str, voters: Sequence[_Rebuilder], *, threshold: int, strangers: Sequence[str]
) -> None:
    """Refuse a step that too few have rebuilt, and say why they are too few."""
    distinct = len({voter.number for voter in voters})
    if distinct >= threshold:
        return
    names = sorted({voter.name for voter in voters})
    if len(voters) >= threshold:
        code, but = Code.REBUILD_DUPLICATE, f"{len(voters)} statements of {names}"
    elif distinct + len(strangers) >= threshold:
        code = Code.REBUILD_UNKNOWN
        but = f"{names}, and {len(strangers)} by others ({', '.join(sorted(set(strangers)))})"
    else:
        code, but = Code.REBUILD_MISSING, f"{distinct} {names}"
    raise ProvenanceError(
        f"rebuilders of step {step}",
        code=code,
        step=_STEP,
        expected=f"at least {threshold} of the policy's list",
        got=but,
    )
