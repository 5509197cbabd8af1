"""Step 6: the evidence document, from the server's bytes to claimed values.

The wire form is JSON, version 1 (docs/verification.md). Binary fields are standard base64 in its
one canonical spelling, register values are 64 lowercase hex digits in index order. Everything in
`Evidence` is a claim; `verify.verify_evidence` decides what of it is true.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from blindllama._strict_json import parse_json, parse_model
from blindllama._tpm.nonce_tree import NoncePath
from blindllama.errors import Code, FormatError
from blindllama.measurements import Sha256Hex

__all__ = ["EVIDENCE_LIMIT_BYTES", "AppEvent", "Evidence", "decode_base64", "parse_evidence"]

EVIDENCE_LIMIT_BYTES: Final = 1 << 20
"""Most bytes of an evidence document; a real one takes about 60 KiB, most of it event log."""

_STEP = 6
_WIRE_VERSION = 1
_KIND = "tpm-quote"
_MOST_ISSUERS = 16
_MOST_SIBLINGS = 64
_MOST_APP_EVENTS = 64
_QUOTED_REGISTERS = 16


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class _Quote(_Wire):
    attest: str
    signature: str


class _Pcrs(_Wire):
    sha256: Annotated[
        tuple[Sha256Hex, ...], Field(min_length=_QUOTED_REGISTERS, max_length=_QUOTED_REGISTERS)
    ]


class _Ak(_Wire):
    certificate: str
    intermediates: Annotated[tuple[str, ...], Field(max_length=_MOST_ISSUERS)]


class _NoncePath(_Wire):
    index: Annotated[int, Field(ge=0)]
    leaves: Annotated[int, Field(ge=1)]
    siblings: Annotated[tuple[str, ...], Field(max_length=_MOST_SIBLINGS)]


class _AppEvent(_Wire):
    pcr: Annotated[int, Field(ge=0, lt=_QUOTED_REGISTERS)]
    name: Annotated[str, Field(min_length=1, max_length=200)]
    data: str


class _Clock(_Wire):
    reset_count: Annotated[int, Field(ge=0)]
    restart_count: Annotated[int, Field(ge=0)]


class _Document(_Wire):
    version: Literal[1]
    kind: Literal["tpm-quote"]
    quote: _Quote
    pcrs: _Pcrs
    ak: _Ak
    nonce_path: _NoncePath
    spki: str
    event_log: str
    app_events: Annotated[tuple[_AppEvent, ...], Field(max_length=_MOST_APP_EVENTS)]
    clock: _Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEvent:
    """One extend that the guest says it made after boot: the register got SHA-256(data)."""

    pcr: int
    name: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a server claims about itself; nothing in it is verified."""

    kind: str
    attest: bytes
    """TPMS_ATTEST, the bytes that the TPM signed."""
    signature: bytes
    """TPMT_SIGNATURE."""
    pcrs: Mapping[int, bytes]
    """SHA-256 registers 0 to 15, 32 bytes each."""
    ak_certificate: bytes
    """DER."""
    ak_issuers: tuple[bytes, ...]
    """DER of the issuers, the leaf's first, the root last."""
    nonce_path: NoncePath
    spki: bytes
    """SubjectPublicKeyInfo of the server's TLS key, DER."""
    event_log: bytes
    """TCG event log of the firmware; empty where the platform has none."""
    app_events: tuple[AppEvent, ...]


def parse_evidence(document: bytes) -> Evidence:
    """Return the claims of an evidence document.

    Raises:
        FormatError: with code `format.*`, or `evidence.kind` for evidence of an unknown kind.
    """
    value = parse_json(document, limit=EVIDENCE_LIMIT_BYTES, step=_STEP, what="evidence")
    if isinstance(value, dict):
        _check_head(value.get("version"), value.get("kind"))
    wire = parse_model(value, _Document, step=_STEP, what="evidence")
    return Evidence(
        kind=wire.kind,
        attest=decode_base64(wire.quote.attest, "quote.attest"),
        signature=decode_base64(wire.quote.signature, "quote.signature"),
        pcrs=MappingProxyType(
            {index: bytes.fromhex(text) for index, text in enumerate(wire.pcrs.sha256)}
        ),
        ak_certificate=decode_base64(wire.ak.certificate, "ak.certificate"),
        ak_issuers=tuple(decode_base64(der, "ak.intermediates") for der in wire.ak.intermediates),
        nonce_path=NoncePath(
            index=wire.nonce_path.index,
            leaves=wire.nonce_path.leaves,
            siblings=tuple(
                decode_base64(sibling, "nonce_path.siblings")
                for sibling in wire.nonce_path.siblings
            ),
        ),
        spki=decode_base64(wire.spki, "spki"),
        event_log=decode_base64(wire.event_log, "event_log"),
        app_events=tuple(
            AppEvent(
                pcr=event.pcr, name=event.name, data=decode_base64(event.data, "app_events.data")
            )
            for event in wire.app_events
        ),
    )


def decode_base64(text: str, field: str) -> bytes:
    """Return the bytes of standard base64 in its canonical spelling.

    Without this, several texts mean the same bytes: unused bits, line breaks, other alphabets.

    Raises:
        FormatError: `format.encoding`.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error) as exc:
        raise _not_base64(field) from exc
    if base64.b64encode(data).decode("ascii") != text:
        raise _not_base64(field)
    return data


def _check_head(version: object, kind: object) -> None:
    """Name the two reasons for which a newer server's document is refused."""
    if version != _WIRE_VERSION or type(version) is not int:  # 1.0 and true are equal to 1
        raise FormatError(
            "version of the evidence",
            code=Code.FORMAT_VERSION,
            step=_STEP,
            expected=_WIRE_VERSION,
            got=version,
        )
    if kind != _KIND:
        raise FormatError(
            "kind of the evidence", code=Code.EVIDENCE_KIND, step=_STEP, expected=_KIND, got=kind
        )


def _not_base64(field: str) -> FormatError:
    return FormatError(
        f"evidence, {field}", code=Code.FORMAT_ENCODING, step=_STEP, expected="canonical base64"
    )
