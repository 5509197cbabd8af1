"""The DSSE envelopes of layout and links: exact bytes, strict base64, no unknown field.

Source: DSSE protocol and envelope, version 1.0; in-toto 1.0, layout and link metadata.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue
from securesystemslib.dsse import Envelope as Dsse

from blindllama._release.statement import PAYLOAD_TYPE
from blindllama._strict_json import parse_json, parse_model
from blindllama.errors import Code, FormatError
from blindllama.measurements import Sha256Hex

__all__ = ["Envelope", "EnvelopeSignature", "parse_envelope"]

_STEP = 3
_LIMIT = 4 << 20
_MOST_SIGNATURES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvelopeSignature:
    """A claimed signature: nothing about it is verified yet."""

    keyid: str
    signature: bytes
    bundle: JsonValue
    """The Sigstore bundle beside it, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """An envelope as it came: its payload counts only after a signature was verified."""

    payload: bytes
    pae: bytes
    """What is signed: the payload's type, its length and the payload."""
    signatures: tuple[EnvelopeSignature, ...]

    @property
    def digest(self) -> Sha256Hex:
        """SHA-256 of the payload, by which statements refer to the document."""
        return hashlib.sha256(self.payload).hexdigest()

    def document(self, what: str) -> JsonValue:
        """Return the payload as strict JSON.

        Raises:
            FormatError: `format.*`.
        """
        return parse_json(self.payload, limit=_LIMIT, step=_STEP, what=what)


class _Signature(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    keyid: Sha256Hex
    sig: str
    bundle: JsonValue = None


class _Envelope(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    payload: str
    payload_type: Annotated[str, Field(alias="payloadType")]
    signatures: Annotated[list[_Signature], Field(min_length=1, max_length=_MOST_SIGNATURES)]


def parse_envelope(document: JsonValue, *, what: str) -> Envelope:
    """Return the envelope in a JSON value.

    Raises:
        FormatError: `format.schema`, or `format.encoding` for lax base64.
    """
    wire = parse_model(document, _Envelope, step=_STEP, what=what)
    if wire.payload_type != PAYLOAD_TYPE:
        raise FormatError(
            f"payload type of the {what}",
            code=Code.FORMAT_SCHEMA,
            step=_STEP,
            expected=PAYLOAD_TYPE,
            got=wire.payload_type,
        )
    payload = _base64(wire.payload, what)
    return Envelope(
        payload=payload,
        pae=Dsse(payload, PAYLOAD_TYPE, {}).pae(),
        signatures=tuple(
            EnvelopeSignature(
                keyid=entry.keyid, signature=_base64(entry.sig, what), bundle=entry.bundle
            )
            for entry in wire.signatures
        ),
    )


def _base64(text: str, what: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if not data or base64.b64encode(data).decode() != text:
        raise FormatError(
            f"base64 of the {what}", code=Code.FORMAT_ENCODING, step=_STEP, expected="RFC 4648"
        )
    return data
