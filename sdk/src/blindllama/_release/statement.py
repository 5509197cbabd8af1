"""in-toto statements inside verified envelopes: the exact type, and nothing unknown.

Source: in-toto Attestation Framework, Statement v1; DSSE, payloadType of in-toto.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from blindllama._strict_json import parse_json, parse_model
from blindllama.errors import Code, ProvenanceError
from blindllama.measurements import DigestSet, Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography.x509 import Certificate

    from blindllama._release.bundle import BundleVerifier, Signer, VerifiedEnvelope

__all__ = ["PAYLOAD_TYPE", "STATEMENT_TYPE", "VerifiedStatement", "verify_statement"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"

_STEP = 2
_LIMIT = 4 << 20
_MOST_SUBJECTS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedStatement:
    """A statement of the expected type by the expected signer."""

    subjects: Mapping[str, Sha256Hex]
    """Name to SHA-256 of everything that the statement is about."""
    predicate: JsonValue
    digest: Sha256Hex
    """SHA-256 of the statement's bytes, by which other statements refer to it."""
    certificate: Certificate
    signed_at: datetime


class _Subject(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    name: Annotated[str, Field(min_length=1, max_length=512)]
    digest: DigestSet


class _Statement(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    type_: Annotated[str, Field(alias="_type")]
    subject: Annotated[list[_Subject], Field(min_length=1, max_length=_MOST_SUBJECTS)]
    predicate_type: Annotated[str, Field(alias="predicateType")]
    predicate: JsonValue


def verify_statement(
    document: JsonValue,
    *,
    predicate_type: str,
    signer: Signer,
    bundles: BundleVerifier,
) -> VerifiedStatement:
    """Return the statement in a bundle, once its signature, signer and type are as expected.

    Raises:
        ProvenanceError: `bundle.*` or `statement.*`.
        FormatError: `format.*` when the signed bytes are not a statement.
    """
    return _statement(bundles.verify_dsse(document, signer), predicate_type)


def _statement(envelope: VerifiedEnvelope, predicate_type: str) -> VerifiedStatement:
    _equal("payload type", Code.STATEMENT_PAYLOAD_TYPE, PAYLOAD_TYPE, envelope.payload_type)
    value = parse_json(envelope.payload, limit=_LIMIT, step=_STEP, what="statement")
    # The types first: a statement of another type also has other fields, and the reason is the type.
    if isinstance(value, dict):
        _equal("statement type", Code.STATEMENT_TYPE, STATEMENT_TYPE, value.get("_type"))
        _equal(
            "predicate type",
            Code.STATEMENT_PREDICATE_TYPE,
            predicate_type,
            value.get("predicateType"),
        )
    statement = parse_model(value, _Statement, step=_STEP, what="statement")
    subjects = {subject.name: subject.digest.sha256 for subject in statement.subject}
    if len(subjects) != len(statement.subject):
        raise ProvenanceError(
            "names of a statement's subjects",
            code=Code.STATEMENT_SUBJECT,
            step=_STEP,
            expected="each name once",
        )
    return VerifiedStatement(
        subjects=MappingProxyType(subjects),
        predicate=statement.predicate,
        digest=hashlib.sha256(envelope.payload).hexdigest(),
        certificate=envelope.certificate,
        signed_at=envelope.signed_at,
    )


def _equal(what: str, code: Code, expected: str, got: object) -> None:
    if got != expected:
        raise ProvenanceError(
            what, code=code, step=_STEP, expected=expected, got="none" if got is None else got
        )
