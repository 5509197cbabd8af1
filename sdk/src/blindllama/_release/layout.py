"""The in-toto layout: signed by every owner, not expired, and the four steps of the product.

The layout is the owner's word on who may carry out a step and which files may pass between steps.
It is read with a strict form of its own; in-toto's rule engine is given the result (`link`).

Source: in-toto specification 1.0, sections 4.3 (layout) and 5.2 (verification).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from pydantic import BaseModel, ConfigDict, Field, JsonValue

from blindllama._policy_parts import GithubSource
from blindllama._release.bundle import Signer
from blindllama._release.envelope import Envelope, parse_envelope
from blindllama._strict_json import parse_model
from blindllama.errors import Code, FormatError, ProvenanceError
from blindllama.measurements import Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blindllama.policy import Owner

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
    """What a workflow must have been started for: any repository can call a public one."""


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


def verify_layout(document: JsonValue, *, owners: Sequence[Owner], now: datetime) -> VerifiedLayout:
    """Return the layout in an envelope.

    Raises:
        ProvenanceError: `layout.*`.
        FormatError: `format.*` when the envelope is not one.
    """
    envelope = parse_envelope(document, what="layout")
    _check_owners(envelope, owners)
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


def _check_owners(envelope: Envelope, owners: Sequence[Owner]) -> None:
    """Refuse unless every owner has signed, and nobody else."""
    keys = {owner.keyid: owner.public for owner in owners}
    for entry in envelope.signatures:
        if entry.keyid not in keys:
            raise ProvenanceError(
                "owner of the layout",
                code=Code.LAYOUT_UNKNOWN_OWNER,
                step=_STEP,
                expected=sorted(keys),
                got=entry.keyid,
            )
    for keyid, public in keys.items():
        made = [entry.signature for entry in envelope.signatures if entry.keyid == keyid]
        if not made:
            raise ProvenanceError(
                "signatures of the layout",
                code=Code.LAYOUT_OWNER_MISSING,
                step=_STEP,
                expected=f"one by owner {keyid}",
                got="none",
            )
        for signature in made:
            try:
                Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)).verify(
                    signature, envelope.pae
                )
            except (InvalidSignature, ValueError) as exc:
                raise ProvenanceError(
                    "signature of the layout",
                    code=Code.LAYOUT_SIGNATURE,
                    step=_STEP,
                    expected=f"one that verifies with the key of owner {keyid}",
                ) from exc


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
    people = {functionaries[keyid] for keyid in step.pubkeys if keyid in functionaries}
    if unknown or len(people) < step.threshold:
        raise ProvenanceError(
            f"functionaries of step {step.name}",
            code=Code.LAYOUT_FUNCTIONARY,
            step=_STEP,
            expected=f"at least {step.threshold} known to the layout",
            got=f"{len(people)} known, {len(unknown)} unknown",
        )
