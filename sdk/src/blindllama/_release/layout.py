"""The in-toto layout: signed by every owner, not expired, and the four steps of the product.

The layout is the owner's word on who may carry out a step and which files may pass between steps.
It is read with a strict form of its own; in-toto's rule engine is given the result (`link`).

Source: in-toto specification 1.0, sections 4.3 (layout) and 5.2 (verification).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from blindllama._owner_key import signed_by_owner
from blindllama._policy_parts import GITHUB_ISSUER, GithubSource, Owner, OwnerIdentity
from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.envelope import Envelope, EnvelopeSignature, parse_envelope
from blindllama._strict_json import canonical_json, parse_model
from blindllama.errors import Code, FormatError, ProvenanceError
from blindllama.measurements import Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["STEPS", "LayoutStep", "VerifiedLayout", "verify_layout"]

STEPS = ("engine", "app-disk", "os-image", "measure")
"""The steps of a release, in order: these and no others."""

_STEP = 3
_LAST_RULE = ("DISALLOW", "*")


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Name = Annotated[str, Field(min_length=1, max_length=512)]
_Rules = Annotated[tuple[tuple[str, ...], ...], Field(min_length=1, max_length=1000)]


class LayoutStep(_Wire):
    """One step as the owner allows it."""

    type_: Annotated[Literal["step"], Field(alias="_type")]
    name: _Name
    expected_materials: _Rules
    expected_products: _Rules
    pubkeys: Annotated[tuple[Sha256Hex, ...], Field(min_length=1, max_length=16)]
    expected_command: tuple[str, ...]
    threshold: Annotated[int, Field(ge=1, le=16)]


class _KeyValue(_Wire):
    identity: _Name
    issuer: _Name
    github: GithubSource | None = None
    """What an identity of GitHub Actions must have been given to build."""


class _Functionary(_Wire):
    keyid: Sha256Hex | None = None
    keytype: Literal["sigstore-oidc"]
    scheme: Literal["Fulcio"]
    keyval: _KeyValue


class _Layout(_Wire):
    type_: Annotated[Literal["layout"], Field(alias="_type")]
    steps: Annotated[tuple[LayoutStep, ...], Field(max_length=16)]
    inspect: tuple[JsonValue, ...]
    keys: Annotated[dict[Sha256Hex, _Functionary], Field(max_length=64)]
    expires: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")]
    readme: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedLayout:
    """A layout that every owner in the policy has signed and that has not expired."""

    steps: tuple[LayoutStep, ...]
    functionaries: Mapping[Sha256Hex, Signer]
    """Key id to the identity behind it."""
    expires: datetime
    digest: Sha256Hex


def verify_layout(
    document: JsonValue,
    *,
    owners: Sequence[Owner | OwnerIdentity],
    bundles: BundleVerifier,
    now: datetime,
) -> VerifiedLayout:
    """Return the layout in an envelope.

    Raises:
        ProvenanceError: `layout.*`, or `bundle.*` for the bundle of an owner who is an identity.
        FormatError: `format.*` when the envelope is not one.
    """
    envelope = parse_envelope(document, what="layout")
    _check_owners(envelope, owners, bundles)
    try:
        layout = parse_model(envelope.document("layout"), _Layout, step=_STEP, what="layout")
        expires = datetime.strptime(layout.expires, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except (FormatError, ValueError) as exc:
        raise ProvenanceError(f"{exc}", code=Code.LAYOUT_MALFORMED, step=_STEP) from exc
    if now >= expires:
        raise ProvenanceError(
            "expiry of the layout",
            code=Code.LAYOUT_EXPIRED,
            step=_STEP,
            expected=f"after {now.isoformat()}",
            got=layout.expires,
        )
    functionaries = {
        keyid: Signer(
            issuer=key.keyval.issuer, identity=key.keyval.identity, github=key.keyval.github
        )
        for keyid, key in layout.keys.items()
    }
    _check_steps(layout)
    for step in layout.steps:
        _check_step(step, functionaries)
    return VerifiedLayout(
        steps=layout.steps,
        functionaries=MappingProxyType(functionaries),
        expires=expires,
        digest=envelope.digest,
    )


def _check_owners(
    envelope: Envelope, owners: Sequence[Owner | OwnerIdentity], bundles: BundleVerifier
) -> None:
    """Refuse unless every owner has signed, and nobody else."""
    known = {_keyid(owner): owner for owner in owners}
    for entry in envelope.signatures:
        if entry.keyid not in known:
            raise ProvenanceError(
                "owner of the layout",
                code=Code.LAYOUT_UNKNOWN_OWNER,
                step=_STEP,
                expected=sorted(known),
                got=entry.keyid,
            )
    for keyid, owner in known.items():
        made = [entry for entry in envelope.signatures if entry.keyid == keyid]
        if not made:
            raise ProvenanceError(
                "signatures of the layout",
                code=Code.LAYOUT_OWNER_MISSING,
                step=_STEP,
                expected=f"one by owner {keyid}",
                got="none",
            )
        for entry in made:
            _check_signature(entry, owner, envelope.pae, bundles)


def _keyid(owner: Owner | OwnerIdentity) -> str:
    """Return what a signature of the owner is known by; of an identity, as of a functionary."""
    if isinstance(owner, Owner):
        return owner.keyid
    key = {
        "keytype": "sigstore-oidc",
        "scheme": "Fulcio",
        "keyval": owner.model_dump(mode="json", exclude_none=True),
    }
    return hashlib.sha256(canonical_json(key)).hexdigest()


def _check_signature(
    entry: EnvelopeSignature, owner: Owner | OwnerIdentity, data: bytes, bundles: BundleVerifier
) -> None:
    if isinstance(owner, OwnerIdentity):
        signer = Signer(issuer=owner.issuer, identity=owner.identity, github=owner.github)
        bundles.verify_message(entry.bundle, signer, message=data, signature=entry.signature)
        return
    # A bundle beside a key's signature would be bytes that nobody has signed.
    if entry.bundle is not None or not signed_by_owner(owner, signature=entry.signature, data=data):
        raise ProvenanceError(
            "signature of the layout",
            code=Code.LAYOUT_SIGNATURE,
            step=_STEP,
            expected=f"one that verifies with the key of owner {owner.keyid}, nothing beside it",
        )


def _check_steps(layout: _Layout) -> None:
    names = tuple(step.name for step in layout.steps)
    if names != STEPS:
        raise ProvenanceError(
            "steps of the layout", code=Code.LAYOUT_STEPS, step=_STEP, expected=STEPS, got=names
        )
    if layout.inspect:
        # An inspection is a command that the client would run on the server's word.
        raise ProvenanceError(
            "inspections of the layout",
            code=Code.LAYOUT_INSPECTION,
            step=_STEP,
            expected="none",
            got=len(layout.inspect),
        )


def _check_step(step: LayoutStep, functionaries: Mapping[Sha256Hex, Signer]) -> None:
    for kind, rules in (("material", step.expected_materials), ("product", step.expected_products)):
        if rules[-1] != _LAST_RULE:
            # in-toto accepts an artifact that no rule covers (ATTACKS S5).
            raise ProvenanceError(
                f"last {kind} rule of step {step.name}",
                code=Code.LAYOUT_OPEN_RULES,
                step=_STEP,
                expected=" ".join(_LAST_RULE),
                got=" ".join(rules[-1]),
            )
    unknown = [keyid for keyid in step.pubkeys if keyid not in functionaries]
    named = [functionaries[keyid] for keyid in step.pubkeys if keyid in functionaries]
    for person in named:
        if (person.issuer == GITHUB_ISSUER) != (person.github is not None):
            # Anybody can call a workflow of somebody else: the source decides (S1, S3).
            raise ProvenanceError(
                f"functionary {person.identity} of step {step.name}",
                code=Code.LAYOUT_FUNCTIONARY,
                step=_STEP,
                expected=f"a source on GitHub exactly when the issuer is {GITHUB_ISSUER}",
                got="none" if person.github is None else "one",
            )
    people = {person.known_as for person in named}
    if unknown or len(people) < step.threshold:
        raise ProvenanceError(
            f"functionaries of step {step.name}",
            code=Code.LAYOUT_FUNCTIONARY,
            step=_STEP,
            expected=f"at least {step.threshold} known to the layout",
            got=f"{len(people)} known, {len(unknown)} unknown",
        )
