"""The evidence document, wire version 1: the TPM's exact bytes, in JSON.

Everything in it is a claim. What makes the claims believable is inside the quote: it signs the
PCRs, and its qualifying data ties the caller's nonce to the key that the connection uses.

Source: docs/verification.md, steps 6 to 8.
"""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # Only a type: the document can be written where there is no TPM library.
    from os_image.guest.nonce_tree import NoncePath
    from os_image.guest.tpm import Quote

_LABEL = b"blindllama/quote/v1\0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What belongs to every document of one boot."""

    spki: bytes
    """DER SubjectPublicKeyInfo of the ingress key."""
    event_log: bytes
    """The firmware's TCG log, may be empty."""
    app_events: bytes
    """JSON array of what PCR 15 received."""


def qualifying_data(spki: bytes, nonce_tree_root: bytes) -> bytes:
    """The 32 bytes that the quote signs: the ingress key and the callers' nonces, under a label."""
    return hashlib.sha256(_LABEL + hashlib.sha256(spki).digest() + nonce_tree_root).digest()


def encode_shared(quote: Quote, surroundings: Surroundings) -> bytes:
    """What the documents of all callers of one quote have in common: JSON without its end.

    Encoded once, because it is nearly all of a document and callers may be thousands.
    """
    document = {
        "version": 1,
        "kind": "tpm-quote",
        "quote": {"attest": _text(quote.attest), "signature": _text(quote.signature)},
        "pcrs": {"sha256": [value.hex() for value in quote.pcrs]},
        "ak": {
            "certificate": _text(quote.certificate),
            "intermediates": [_text(issuer) for issuer in quote.intermediates],
        },
        "spki": _text(surroundings.spki),
        "event_log": _text(surroundings.event_log),
        "app_events": json.loads(surroundings.app_events),
        "clock": {"reset_count": quote.reset_count, "restart_count": quote.restart_count},
    }
    return _json(document).removesuffix(b"}")


def encode_evidence(shared: bytes, path: NoncePath) -> bytes:
    """The document for the caller whose nonce has `path`, as JSON in UTF-8."""
    nonce_path = {
        "index": path.index,
        "leaves": path.leaves,
        "siblings": [_text(sibling) for sibling in path.siblings],
    }
    return shared + b',"nonce_path":' + _json(nonce_path) + b"}"


def _json(document: object) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode("utf-8")


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")
