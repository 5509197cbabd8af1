"""Step 3's last part: layout, links, provenance and measurements must tell one story.

Each document is signed on its own; a genuine one of another release would verify too. Here every
digest that one document states about another is compared.
"""

from __future__ import annotations

import hashlib
from types import MappingProxyType
from typing import TYPE_CHECKING

from blindllama._release.layout import STEPS
from blindllama.errors import Code, ProvenanceError
from blindllama.measurements import measurements_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from blindllama._release.index import Index
    from blindllama._release.layout import VerifiedLayout
    from blindllama._release.link import VerifiedStep
    from blindllama._release.provenance import VerifiedProvenance
    from blindllama._release.statement import VerifiedStatement
    from blindllama.measurements import MeasurementsPredicate, Sha256Hex

__all__ = [
    "DISKS",
    "FILES",
    "MEASUREMENTS_PRODUCT",
    "check_index",
    "check_measurements",
    "check_provenance",
]

DISKS = ("os-image/os.img", "app-disk/app.img")
"""The products that a measurements statement is about."""

MEASUREMENTS_PRODUCT = "measure/measurements.json"
"""The product that holds the values which the statement states."""

FILES: Mapping[str, str] = MappingProxyType(
    {
        "os.img": "os-image/os.img",
        "app.img": "app-disk/app.img",
        "engine-manifest.json": "engine/manifest.json",
        "measurements.json": MEASUREMENTS_PRODUCT,
    }
)
"""Files of a release that are products of its steps, by their path in its folder."""

_STEP = 3


def check_provenance(
    provenance: Iterable[VerifiedProvenance],
    *,
    layout: VerifiedLayout,
    steps: Mapping[str, VerifiedStep],
) -> Mapping[str, VerifiedProvenance]:
    """Return the provenance by step, once each agrees with its step's links and the layout.

    Raises:
        ProvenanceError: `provenance.step` or `chain.provenance_*`.
    """
    found: dict[str, VerifiedProvenance] = {}
    for claim in provenance:
        if claim.step not in STEPS or claim.step in found:
            raise _refused("step of a provenance", Code.PROVENANCE_STEP, "each once", claim.step)
        found[claim.step] = claim
    if len(found) != len(STEPS):
        raise _refused("steps with provenance", Code.PROVENANCE_STEP, STEPS, sorted(found))
    for claim in found.values():
        step = steps[claim.step]
        _same(
            f"provenance subjects of step {claim.step}",
            Code.CHAIN_PROVENANCE_SUBJECTS,
            step.products,
            claim.products,
        )
        _same(
            f"provenance dependencies of step {claim.step}",
            Code.CHAIN_PROVENANCE_MATERIALS,
            step.materials,
            claim.materials,
        )
        if claim.layout != layout.digest:
            raise _refused(
                f"layout in the provenance of step {claim.step}",
                Code.CHAIN_PROVENANCE_LAYOUT,
                layout.digest,
                claim.layout or "none",
            )
        name = f"{claim.step}.link"
        if claim.links.keys() != {name} or claim.links[name] not in step.links:
            raise _refused(
                f"link in the provenance of step {claim.step}",
                Code.CHAIN_PROVENANCE_LINKS,
                f"{name} with {sorted(step.links)}",
                dict(claim.links),
            )
    return MappingProxyType(found)


def check_measurements(
    statement: VerifiedStatement,
    predicate: MeasurementsPredicate,
    *,
    layout: VerifiedLayout,
    steps: Mapping[str, VerifiedStep],
    provenance: Mapping[str, VerifiedProvenance],
) -> None:
    """Refuse measurements of other disks, of another layout or provenance, or made by no step.

    Raises:
        ProvenanceError: `chain.measurements_*`.
    """
    products = all_products(steps)
    _same(
        "subjects of the measurements",
        Code.CHAIN_MEASUREMENTS_SUBJECTS,
        {name: products.get(name, "none") for name in DISKS},
        statement.subjects,
    )
    if predicate.layout.sha256 != layout.digest:
        raise _refused(
            "layout of the measurements",
            Code.CHAIN_MEASUREMENTS_LAYOUT,
            layout.digest,
            predicate.layout.sha256,
        )
    _same(
        "provenance of the measurements",
        Code.CHAIN_MEASUREMENTS_PROVENANCE,
        {step: claim.digest for step, claim in provenance.items()},
        {step: digest.sha256 for step, digest in predicate.provenance.items()},
    )
    file = measurements_file(debug=predicate.debug, platforms=predicate.platforms)
    stated, made = hashlib.sha256(file).hexdigest(), products.get(MEASUREMENTS_PRODUCT, "none")
    if stated != made:
        raise _refused("values of the measurements", Code.CHAIN_MEASUREMENTS_PRODUCT, made, stated)


def check_index(index: Index, steps: Mapping[str, VerifiedStep]) -> None:
    """Refuse an index whose files are not the products of the steps.

    Raises:
        ProvenanceError: `chain.index_files`.
    """
    products = all_products(steps)
    _same(
        "files of the release index",
        Code.CHAIN_INDEX_FILES,
        {file: products.get(product, "none") for file, product in FILES.items()},
        {file: digest for file, digest in index.files.items() if file in FILES},
    )


def all_products(steps: Mapping[str, VerifiedStep]) -> dict[str, Sha256Hex]:
    """Return the products of all the steps by name."""
    return {name: digest for step in steps.values() for name, digest in step.products.items()}


def _same(
    what: str, code: Code, expected: Mapping[str, Sha256Hex], got: Mapping[str, Sha256Hex]
) -> None:
    names = sorted(expected.keys() | got.keys())
    for name in names:
        if expected.get(name) != got.get(name):
            raise _refused(
                f"{what}, {name}", code, expected.get(name, "absent"), got.get(name, "absent")
            )


def _refused(what: str, code: Code, expected: object, got: object) -> ProvenanceError:
    return ProvenanceError(what, code=code, step=_STEP, expected=expected, got=got)
