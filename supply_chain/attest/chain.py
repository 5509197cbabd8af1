"""The signed chain of a release: layout, links, provenance and measurements of finished steps.

The steps that were run are the steps that the layout demands: both come from the same values, so a
step without a rule, or a rule without a step, cannot be written down.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from blindllama.measurements import DigestSet, MeasurementsPredicate, PlatformMeasurements
from supply_chain.attest.functionary import Functionary, functionaries_of
from supply_chain.attest.layout import LayoutStep, build_layout, link_file_name, record_link
from supply_chain.attest.provenance import Run, provenance_statement
from supply_chain.attest.statement import measurements_statement
from supply_chain.attest.trust import SigningError
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from supply_chain.attest.config import Person
    from supply_chain.attest.layout import Signed
    from supply_chain.attest.owner import Owner
    from supply_chain.attest.signing import Signer
    from supply_chain.digest import Sha256
    from supply_chain.progress import Progress
    from supply_chain.step import Step, StepResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What the measuring step found out, before it is signed."""

    subjects: tuple[str, ...]
    """Product names of the disks that the measurements are about."""
    debug: bool
    platforms: Mapping[str, PlatformMeasurements]


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedChain:
    """Everything signed about how a release was made."""

    layout: Signed
    links: Mapping[str, Signed]
    """By the file name under which in-toto looks for them."""
    provenance: Mapping[str, bytes]
    """Sigstore bundles (JSON) by step."""
    measurements: bytes
    """Sigstore bundle (JSON)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutPlan:
    """Who owns the layout, who may carry out its steps, and how often they must have."""

    owners: Sequence[Owner]
    """All of them sign."""
    expires: datetime
    rebuilders: Sequence[Person] = ()
    """Who may sign links besides the builder."""
    thresholds: Mapping[str, int] = field(default_factory=dict)
    """By step; a step that is not named is done by one."""


def layout_steps(
    steps: Sequence[Step], thresholds: Mapping[str, int] | None = None
) -> tuple[LayoutStep, ...]:
    """Return the steps as the layout demands them: every product of theirs, nothing else.

    Args:
        steps: The declared steps.
        thresholds: How many must have carried out a step; one where it is not named.

    Raises:
        SigningError: a threshold is of no step.
    """
    demanded = dict(thresholds or {})
    unknown = sorted(demanded.keys() - {step.name for step in steps})
    if unknown:
        raise SigningError(f"thresholds: expected names of steps, got {unknown}")
    return tuple(
        LayoutStep(
            name=step.name,
            materials_from=step.after,
            products=tuple(f"{step.name}/{name}" for name in step.products),
            threshold=demanded.get(step.name, 1),
        )
        for step in steps
    )


def builder_of(signer: Signer) -> Functionary:
    """Return the functionary that a signer is."""
    authority = signer.authority
    return Functionary(
        identity=authority.identity, issuer=authority.issuer, github=authority.github
    )


def sign_chain(
    results: Sequence[StepResult],
    *,
    measured: Measured,
    sequence: int,
    signer: Signer,
    plan: LayoutPlan,
    progress: Progress,
) -> SignedChain:
    """Sign a layout for the steps, a link and provenance for each, and the measurements.

    Args:
        results: The finished steps, in order.
        measured: What a guest of this release will measure.
        sequence: The release's number.
        signer: The functionary that carried the steps out.
        plan: Whose the layout is and whom it lets work.
        progress: Told of each signature.

    Raises:
        SigningError: Sigstore refuses.
    """
    functionary = builder_of(signer)
    others = functionaries_of(plan.rebuilders, issuer=functionary.issuer)
    layout = build_layout(
        layout_steps([result.step for result in results], plan.thresholds),
        [functionary, *others],
        plan.owners,
        expires=plan.expires,
        readme="The steps of a BlindLlama release; see docs/architecture.md.",
    )
    links: dict[str, Signed] = {}
    provenance: dict[str, bytes] = {}
    statements: dict[str, Sha256] = {}
    for result in results:
        name = result.step.name
        with progress.step(f"sign {name}"):
            link = record_link(
                name,
                materials=result.materials,
                products=result.products,
                byproducts={},
                functionary=functionary,
                signer=signer,
            )
            statement = provenance_statement(
                name,
                spec=result.step.parameters,
                materials=result.materials,
                products=result.products,
                layout=layout.payload_digest,
                link=link.payload_digest,
                run=Run(
                    # One run has one key: a later release that keeps its products says so.
                    invocation_id=f"{name}:{result.key.hex}",
                    started=result.started,
                    finished=result.finished,
                    builder_id=signer.authority.builder_id,
                    source=signer.authority.source,
                ),
            )
            links[link_file_name(name, functionary)] = link
            provenance[name] = signer.sign_statement(statement)
            statements[name] = sha256_bytes(statement.to_bytes())
    products = {name: digest for result in results for name, digest in result.products.items()}
    predicate = MeasurementsPredicate(
        version=1,
        sequence=sequence,
        debug=measured.debug,
        layout=DigestSet(sha256=layout.payload_digest.hex),
        provenance={name: DigestSet(sha256=digest.hex) for name, digest in statements.items()},
        platforms=dict(measured.platforms),
    )
    subjects = {name: products[name] for name in measured.subjects}
    with progress.step("sign the measurements"):
        measurements = signer.sign_statement(measurements_statement(subjects, predicate))
    return SignedChain(layout=layout, links=links, provenance=provenance, measurements=measurements)
