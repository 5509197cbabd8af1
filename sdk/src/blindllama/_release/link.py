"""The links: who carried out each step of the layout, what went in and what came out.

Each link is signed by a functionary through a Sigstore bundle that lies beside the signature.

Source: in-toto specification 1.0, sections 4.4 (link) and 4.3.3 (artifact rules).
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from in_toto.exceptions import RuleVerificationError
from in_toto.models.layout import Step as RuledStep
from in_toto.models.link import Link as RuledLink
from in_toto.verifylib import verify_all_item_rules
from pydantic import BaseModel, ConfigDict, Field, JsonValue
from securesystemslib.exceptions import FormatError as RuleFormatError

from blindllama._release.envelope import parse_envelope
from blindllama._release.layout import LayoutStep, VerifiedLayout
from blindllama._strict_json import parse_model
from blindllama.errors import Code, FormatError, ProvenanceError
from blindllama.measurements import DigestSet, Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blindllama._release.bundle import BundleVerifier, Signer

__all__ = ["INPUTS", "VerifiedStep", "verify_links"]

INPUTS = "inputs/"
"""What the names of locked inputs begin with; every other material is an earlier product."""

_STEP = 3
_Artifacts = Annotated[dict[str, DigestSet], Field(max_length=10_000)]


class _Link(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type_: Annotated[Literal["link"], Field(alias="_type")]
    name: Annotated[str, Field(min_length=1, max_length=512)]
    materials: _Artifacts
    products: Annotated[_Artifacts, Field(min_length=1)]
    byproducts: dict[str, JsonValue]
    command: tuple[str, ...]
    environment: dict[str, JsonValue]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedStep:
    """A step that enough of its functionaries carried out, all with the same outcome."""

    name: str
    materials: Mapping[str, Sha256Hex]
    products: Mapping[str, Sha256Hex]
    links: frozenset[Sha256Hex]
    """Digests of the signed links."""
    functionaries: frozenset[Signer]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignedLink:
    link: _Link
    digest: Sha256Hex
    functionary: Signer


def verify_links(
    documents: Sequence[JsonValue], *, layout: VerifiedLayout, bundles: BundleVerifier
) -> Mapping[str, VerifiedStep]:
    """Return the four steps, by name, in the layout's order.

    Raises:
        ProvenanceError: `link.*`, or `bundle.*` for the bundle beside a link's signature.
        FormatError: `format.*` when an envelope is not one.
    """
    signed = [_verify_link(document, layout, bundles) for document in documents]
    steps = {
        step.name: _verify_step(step, [made for made in signed if made.link.name == step.name])
        for step in layout.steps
    }
    _check_rules(layout, steps)
    _check_materials(steps)
    return MappingProxyType(steps)


def _verify_link(
    document: JsonValue, layout: VerifiedLayout, bundles: BundleVerifier
) -> _SignedLink:
    envelope = parse_envelope(document, what="link")
    try:
        link = parse_model(envelope.document("link"), _Link, step=_STEP, what="link")
    except FormatError as exc:
        raise ProvenanceError(f"{exc}", code=Code.LINK_MALFORMED, step=_STEP) from exc
    allowed = {step.name: step.pubkeys for step in layout.steps}
    if link.name not in allowed:
        raise ProvenanceError(
            "step of a link",
            code=Code.LINK_UNEXPECTED,
            step=_STEP,
            expected=sorted(allowed),
            got=link.name,
        )
    if len(envelope.signatures) != 1:
        raise ProvenanceError(
            f"signatures of a link of step {link.name}",
            code=Code.LINK_SIGNATURE,
            step=_STEP,
            expected=1,
            got=len(envelope.signatures),
        )
    signature = envelope.signatures[0]
    if signature.keyid not in allowed[link.name]:
        raise ProvenanceError(
            f"functionary of a link of step {link.name}",
            code=Code.LINK_UNKNOWN_FUNCTIONARY,
            step=_STEP,
            expected=list(allowed[link.name]),
            got=signature.keyid,
        )
    functionary = layout.functionaries[signature.keyid]
    try:
        bundles.verify_message(
            signature.bundle, functionary, message=envelope.pae, signature=signature.signature
        )
    except ProvenanceError as exc:
        raise ProvenanceError(
            f"link of step {link.name}: {exc}", code=exc.code, step=_STEP
        ) from exc
    return _SignedLink(link=link, digest=envelope.digest, functionary=functionary)


def _verify_step(step: LayoutStep, links: Sequence[_SignedLink]) -> VerifiedStep:
    if not links:
        raise ProvenanceError(
            f"links of step {step.name}",
            code=Code.LINK_MISSING,
            step=_STEP,
            expected=f"at least {step.threshold}",
            got="none",
        )
    # Identities are counted, not keys or links: one builder with two keys is one builder.
    people = frozenset(made.functionary for made in links)
    if len({person.known_as for person in people}) < step.threshold:
        raise ProvenanceError(
            f"identities that signed a link of step {step.name}",
            code=Code.LINK_THRESHOLD,
            step=_STEP,
            expected=f"at least {step.threshold}",
            got=len(people),
        )
    first = links[0].link
    for other in links[1:]:
        if (other.link.materials, other.link.products) != (first.materials, first.products):
            raise ProvenanceError(
                f"links of step {step.name}",
                code=Code.LINK_DISAGREEMENT,
                step=_STEP,
                expected="the same materials and products in all",
                got=_differences(first, other.link),
            )
    return VerifiedStep(
        name=step.name,
        materials=_plain(first.materials),
        products=_plain(first.products),
        links=frozenset(made.digest for made in links),
        functionaries=people,
    )


def _differences(one: _Link, other: _Link) -> str:
    names = {
        name
        for ours, theirs in ((one.materials, other.materials), (one.products, other.products))
        for name in ours.keys() | theirs.keys()
        if ours.get(name) != theirs.get(name)
    }
    return "differences in " + ", ".join(sorted(names))


def _plain(artifacts: Mapping[str, DigestSet]) -> Mapping[str, Sha256Hex]:
    return MappingProxyType({name: digest.sha256 for name, digest in artifacts.items()})


def _check_rules(layout: VerifiedLayout, steps: Mapping[str, VerifiedStep]) -> None:
    """Apply the owner's artifact rules with in-toto's own engine."""
    try:
        ruled = [
            RuledStep(
                name=step.name,
                expected_materials=[list(rule) for rule in step.expected_materials],
                expected_products=[list(rule) for rule in step.expected_products],
            )
            for step in layout.steps
        ]
    except RuleFormatError as exc:
        raise ProvenanceError(
            f"artifact rules of the layout: {exc}", code=Code.LAYOUT_MALFORMED, step=_STEP
        ) from exc
    links = {
        name: RuledLink(
            name=name,
            materials={path: {"sha256": digest} for path, digest in step.materials.items()},
            products={path: {"sha256": digest} for path, digest in step.products.items()},
        )
        for name, step in steps.items()
    }
    try:
        verify_all_item_rules(ruled, links)
    except RuleVerificationError as exc:
        raise ProvenanceError(
            f"artifact rules of the layout: {str(exc).splitlines()[0]}",
            code=Code.LINK_ARTIFACT_RULE,
            step=_STEP,
        ) from exc


def _check_materials(steps: Mapping[str, VerifiedStep]) -> None:
    """Refuse a material that is neither a locked input nor a product of one earlier step.

    The owner's rules should say so too; a rule that allows too much must not mix two releases.
    """
    earlier: dict[str, Sha256Hex] = {}
    for step in steps.values():
        for name, digest in step.materials.items():
            if not name.startswith(INPUTS) and earlier.get(name) != digest:
                raise ProvenanceError(
                    f"material {name} of step {step.name}",
                    code=Code.LINK_ARTIFACT_RULE,
                    step=_STEP,
                    expected=earlier.get(name, "a product of an earlier step"),
                    got=digest,
                )
        for name in step.products:
            if name in earlier:
                # By name, the later file would take the place of the one that others agreed on.
                raise ProvenanceError(
                    f"product {name} of step {step.name}",
                    code=Code.LINK_ARTIFACT_RULE,
                    step=_STEP,
                    expected="a file that no earlier step makes",
                )
        earlier |= step.products
