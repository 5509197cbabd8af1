"""The in-toto layout and the links: who may do which step, and what went in and came out.

Steps are given by the pipeline's declaration, so that what is built and what is demanded cannot
drift apart. Layout and links are classic in-toto documents in DSSE envelopes.

Source: in-toto specification 1.0, sections 4.3 (layout) and 4.4 (link).
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any

from in_toto.models.layout import Layout, Step
from in_toto.models.link import Link
from in_toto.models.metadata import Envelope

from supply_chain.attest.functionary import functionary_signature
from supply_chain.attest.trust import SigningError
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from securesystemslib.signer import Signature  # type: ignore[attr-defined]

    from supply_chain.attest.functionary import Functionary
    from supply_chain.attest.owner import Owner
    from supply_chain.attest.signing import Signer
    from supply_chain.digest import Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutStep:
    """A step as the layout demands it."""

    name: str
    materials_from: tuple[str, ...]
    """Earlier steps, all of whose products are materials of this one."""
    products: tuple[str, ...]
    """Names of everything that the step makes, `<step>/<file>`."""
    threshold: int = 1
    """How many functionaries must have done it, with the same result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """An in-toto document in its envelope."""

    envelope: bytes
    """The envelope as JSON: what is written to a file."""
    payload_digest: Sha256
    """Digest of the bytes inside: what provenance and measurements refer to."""


def build_layout(
    steps: Sequence[LayoutStep],
    functionaries: Sequence[Functionary],
    owners: Sequence[Owner],
    *,
    expires: datetime,
    readme: str = "",
) -> Signed:
    """The layout that lets the functionaries carry out the steps, signed by each owner.

    Raises:
        SigningError: There is no step, functionary or owner, or a threshold cannot be reached.
    """
    _check(steps, functionaries, owners)
    products = {step.name: step.products for step in steps}
    keyids = [functionary.keyid for functionary in functionaries]
    layout = Layout(
        steps=[_step(step, products, keyids) for step in steps],
        inspect=[],
        readme=readme,
        expires=expires.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    )
    # Set afterwards: in-toto's own check looks the key type up in a global table, which the
    # verifying side fills and a signer has no business in.
    layout.keys = {item.keyid: {**item.key, "keyid": item.keyid} for item in functionaries}
    return _signed(layout, [owner.sign for owner in owners])


def record_link(
    step: str,
    *,
    materials: Mapping[str, Sha256],
    products: Mapping[str, Sha256],
    byproducts: Mapping[str, Any],
    functionary: Functionary,
    signer: Signer,
) -> Signed:
    """The link that says what a step read and made, signed by who carried it out.

    Raises:
        SigningError: The Sigstore instance refuses or is out of reach.
    """
    link = Link(
        name=step,
        materials=_hashes(materials),
        products=_hashes(products),
        byproducts=dict(byproducts),
        # Steps are functions of this repository, not commands; their code is in the provenance.
        command=[],
        environment={},
    )
    return _signed(link, [partial(functionary_signature, functionary, signer)])


def link_file_name(step: str, functionary: Functionary) -> str:
    """The name under which in-toto looks for a functionary's link of a step."""
    return f"{step}.{functionary.keyid[:8]}.link"


def layout_demands(
    envelope: bytes, functionaries: Sequence[Functionary], thresholds: Mapping[str, int]
) -> bool:
    """Tell whether a layout of this build lets these people work, with these thresholds.

    Args:
        envelope: The layout as `build_layout` made it.
        functionaries: Who may carry out each step, in order.
        thresholds: By step; one where a step is not named.
    """
    layout = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    keyids = [person.keyid for person in functionaries]
    return all(
        (step["pubkeys"], step["threshold"]) == (keyids, thresholds.get(step["name"], 1))
        for step in layout["steps"]
    )


def _check(
    steps: Sequence[LayoutStep], functionaries: Sequence[Functionary], owners: Sequence[Owner]
) -> None:
    if not steps or not functionaries or not owners:
        raise SigningError("layout: expected at least one step, one functionary and one owner")
    if len({person.keyid for person in functionaries}) != len(functionaries):
        raise SigningError("layout: expected each functionary once: is the builder a rebuilder?")
    seen: set[str] = set()
    for step in steps:
        if not 1 <= step.threshold <= len(functionaries):
            raise SigningError(
                f"layout, step {step.name}: expected a threshold from 1 to {len(functionaries)}, "
                f"got {step.threshold}"
            )
        missing = [name for name in step.materials_from if name not in seen]
        if missing or step.name in seen or not step.products:
            raise SigningError(
                f"layout, step {step.name}: expected a new name, products, and materials from "
                f"earlier steps, got materials from {list(step.materials_from)}"
            )
        seen.add(step.name)


def _step(step: LayoutStep, products: Mapping[str, Sequence[str]], keyids: list[str]) -> Step:
    # MATCH and CREATE only consume what is there; REQUIRE makes the absence of one an error.
    material_rules: list[list[str]] = []
    for earlier in step.materials_from:
        material_rules += [["REQUIRE", name] for name in products[earlier]]
    for earlier in step.materials_from:
        material_rules.append(["MATCH", f"{earlier}/*", "WITH", "PRODUCTS", "FROM", earlier])
    product_rules = [["REQUIRE", name] for name in step.products]
    product_rules += [["CREATE", name] for name in step.products]
    return Step(
        name=step.name,
        expected_materials=[*material_rules, ["ALLOW", "inputs/*"], ["DISALLOW", "*"]],
        expected_products=[*product_rules, ["DISALLOW", "*"]],
        pubkeys=keyids,
        expected_command=[],
        threshold=step.threshold,
    )


def _signed(document: Layout | Link, signers: Sequence[Callable[[bytes], Signature]]) -> Signed:
    envelope = Envelope.from_signable(document)
    for sign in signers:
        signature = sign(envelope.pae())
        if signature.keyid in envelope.signatures:
            raise SigningError(f"{document.type_}: expected one signature by {signature.keyid}")
        envelope.signatures[signature.keyid] = signature
    text = json.dumps(envelope.to_dict(), sort_keys=True, separators=(",", ":"))
    return Signed(envelope=text.encode(), payload_digest=sha256_bytes(envelope.payload))


def _hashes(digests: Mapping[str, Sha256]) -> dict[str, dict[str, str]]:
    return {name: {"sha256": digest.hex} for name, digest in sorted(digests.items())}
