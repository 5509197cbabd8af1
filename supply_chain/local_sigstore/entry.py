"""Entries that the transparency log takes: proposed by a client, checked, brought to one form.

Like Rekor, the log refuses an entry whose signature does not verify with the certificate or key
that comes with it, and stores not what was sent but the canonical entry made from it.

Version 2 of the log knows one kind: a DSSE envelope is logged by the hash of what it signs.

Source: Rekor's type schemas dsse/0.0.1 and hashedrekord/0.0.1 and 0.0.2; DSSE protocol v1.0 (PAE).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rfc8785
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils

from supply_chain.local_sigstore.exchange import RefusedError, text_field

_P256_DETAILS = "PKIX_ECDSA_P256_SHA_256"


def canonical_entry(proposed: dict[str, Any]) -> bytes:
    """The bytes of the log's leaf for a proposed entry.

    Raises:
        RefusedError: Another kind or version, a malformed entry, or a wrong signature.
    """
    kind = (proposed.get("kind"), proposed.get("apiVersion"))
    try:
        if kind == ("dsse", "0.0.1"):
            return _dsse(proposed)
        if kind == ("hashedrekord", "0.0.1"):
            return _hashedrekord(proposed)
    except InvalidSignature as exc:
        raise RefusedError(400, "the signature does not verify with the key of the entry") from exc
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm, RecursionError) as exc:
        raise RefusedError(400, f"malformed {kind[0]} entry: {exc}") from exc
    raise RefusedError(400, f"entry kind: expected dsse or hashedrekord 0.0.1, got {kind[0]!r}")


def canonical_entry_v2(proposed: dict[str, Any]) -> bytes:
    """The bytes of the log's leaf for an entry proposed to version 2 of the log.

    Raises:
        RefusedError: Another kind, a malformed entry, or a wrong signature.
    """
    if proposed.keys() != {"hashedRekordRequestV002"}:
        raise RefusedError(400, "entry kind: expected hashedRekordRequestV002 alone")
    request = proposed["hashedRekordRequestV002"]
    try:
        digest = _base64_text(text_field(request, "digest"))
        content = text_field(request, "signature", "content")
        if text_field(request, "signature", "verifier", "keyDetails") != _P256_DETAILS:
            raise RefusedError(400, f"key details: expected {_P256_DETAILS}")
        kind, der = _verifier_v2(request["signature"]["verifier"])
        _key_v2(kind, der).verify(
            _base64_text(content), digest, ec.ECDSA(utils.Prehashed(hashes.SHA256()))
        )
    except InvalidSignature as exc:
        raise RefusedError(400, "the signature does not verify with the key of the entry") from exc
    except (ValueError, TypeError, AttributeError, UnsupportedAlgorithm) as exc:
        raise RefusedError(400, f"malformed hashedrekord entry: {exc}") from exc
    verifier: dict[str, Any] = {"keyDetails": _P256_DETAILS, kind: {"rawBytes": _base64(der)}}
    spec: dict[str, Any] = {
        "data": {"algorithm": "SHA2_256", "digest": _base64(digest)},
        "signature": {"content": _base64(_base64_text(content)), "verifier": verifier},
    }
    return rfc8785.dumps(
        {"apiVersion": "0.0.2", "kind": "hashedrekord", "spec": {"hashedRekordV002": spec}}
    )


def genesis_entry(base_url: str) -> bytes:
    """The first leaf of a log.

    Some clients cannot tell index 0 from a missing index, so nobody's entry gets it.
    """
    return rfc8785.dumps({"apiVersion": "0.0.1", "kind": "genesis", "spec": {"log": base_url}})


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryClaim:
    """What a leaf of the log says: who has signed what."""

    kind: str
    """The kind of entry with its version."""
    digest_hex: str
    """SHA-256 of the statement, of the artifact, or, in version 2, of what was signed."""
    certificate: x509.Certificate


def claim_in(leaf: bytes) -> EntryClaim | None:
    """What a leaf says; None where it was signed with a bare key, and for the genesis entry.

    Raises:
        ValueError: It is no entry of a kind that this log takes.
    """
    try:
        document = json.loads(leaf)
        kind, spec = f"{document['kind']} {document['apiVersion']}", document["spec"]
        if kind == "genesis 0.0.1":
            return None
        digest_hex, certificate = _CLAIMS[kind](spec)
    except (KeyError, IndexError, TypeError, AttributeError) as exc:
        raise ValueError(f"log entry: {exc!r}") from exc
    if certificate is None:
        return None
    return EntryClaim(kind=kind, digest_hex=digest_hex, certificate=certificate)


def _dsse_claim(spec: dict[str, Any]) -> tuple[str, x509.Certificate | None]:
    return spec["payloadHash"]["value"], _certificate(spec["signatures"][0]["verifier"])


def _hashedrekord_claim(spec: dict[str, Any]) -> tuple[str, x509.Certificate | None]:
    return spec["data"]["hash"]["value"], _certificate(spec["signature"]["publicKey"]["content"])


def _hashedrekord_v2_claim(spec: dict[str, Any]) -> tuple[str, x509.Certificate | None]:
    record = spec["hashedRekordV002"]
    digest = _base64_text(record["data"]["digest"])
    der = record["signature"]["verifier"].get("x509Certificate", {}).get("rawBytes")
    certificate = None if der is None else x509.load_der_x509_certificate(_base64_text(der))
    return digest.hex(), certificate


def _certificate(text: str) -> x509.Certificate | None:
    pem = _base64_text(text)
    return x509.load_pem_x509_certificate(pem) if b"CERTIFICATE" in pem else None


_CLAIMS: dict[str, Callable[[dict[str, Any]], tuple[str, x509.Certificate | None]]] = {
    "dsse 0.0.1": _dsse_claim,
    "hashedrekord 0.0.1": _hashedrekord_claim,
    "hashedrekord 0.0.2": _hashedrekord_v2_claim,
}


def pae(payload_type: str, payload: bytes) -> bytes:
    """The pre-authentication encoding: the bytes that a DSSE signature is over."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


def _dsse(proposed: dict[str, Any]) -> bytes:
    text = text_field(proposed, "spec", "proposedContent", "envelope")
    verifiers = proposed["spec"]["proposedContent"].get("verifiers")
    if not isinstance(verifiers, list) or len(verifiers) != 1:
        raise RefusedError(400, "verifiers: expected exactly one")
    envelope = json.loads(text)
    payload = base64.b64decode(text_field(envelope, "payload"), validate=True)
    signatures = envelope.get("signatures")
    if not isinstance(signatures, list) or len(signatures) != 1:
        raise RefusedError(400, "envelope: expected exactly one signature")
    signature = text_field(signatures[0], "sig")
    _public_key(_base64_text(verifiers[0])).verify(
        base64.b64decode(signature, validate=True),
        pae(text_field(envelope, "payloadType"), payload),
        ec.ECDSA(hashes.SHA256()),
    )
    return _canonical(
        "dsse",
        {
            "envelopeHash": _hash(text.encode()),
            "payloadHash": _hash(payload),
            "signatures": [{"signature": signature, "verifier": verifiers[0]}],
        },
    )


def _hashedrekord(proposed: dict[str, Any]) -> bytes:
    if text_field(proposed, "spec", "data", "hash", "algorithm") != "sha256":
        raise RefusedError(400, "hash algorithm: expected sha256")
    digest_hex = text_field(proposed, "spec", "data", "hash", "value")
    signature = text_field(proposed, "spec", "signature", "content")
    key = text_field(proposed, "spec", "signature", "publicKey", "content")
    _public_key(_base64_text(key)).verify(
        base64.b64decode(signature, validate=True),
        bytes.fromhex(digest_hex),
        ec.ECDSA(utils.Prehashed(hashes.SHA256())),
    )
    return _canonical(
        "hashedrekord",
        {
            "data": {"hash": {"algorithm": "sha256", "value": digest_hex}},
            "signature": {"content": signature, "publicKey": {"content": key}},
        },
    )


def _verifier_v2(verifier: dict[str, Any]) -> tuple[str, bytes]:
    """The kind of a verifier, and its certificate or key in DER."""
    kinds = verifier.keys() & {"x509Certificate", "publicKey"}
    if len(kinds) != 1:
        raise RefusedError(400, "verifier: expected a certificate or a key")
    (kind,) = kinds
    return kind, _base64_text(text_field(verifier, kind, "rawBytes"))


def _key_v2(kind: str, der: bytes) -> ec.EllipticCurvePublicKey:
    key = (
        x509.load_der_x509_certificate(der).public_key()
        if kind == "x509Certificate"
        else serialization.load_der_public_key(der)
    )
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RefusedError(400, "key: expected ECDSA on P-256")
    return key


def _public_key(pem: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a certificate or of a public key in PEM."""
    key = (
        x509.load_pem_x509_certificate(pem).public_key()
        if b"CERTIFICATE" in pem
        else serialization.load_pem_public_key(pem)
    )
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise RefusedError(400, "key: expected ECDSA")
    return key


def _base64_text(text: object) -> bytes:
    if not isinstance(text, str):
        raise RefusedError(400, "key: expected base64 text")
    return base64.b64decode(text, validate=True)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _hash(data: bytes) -> dict[str, Any]:
    return {"algorithm": "sha256", "value": hashlib.sha256(data).hexdigest()}


def _canonical(kind: str, spec: dict[str, Any]) -> bytes:
    return rfc8785.dumps({"apiVersion": "0.0.1", "kind": kind, "spec": spec})
