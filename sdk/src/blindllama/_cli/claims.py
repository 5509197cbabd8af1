"""What a file claims, as JSON-shaped data: nothing in it is verified, and every caller says so."""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from blindllama._cli.claims_guest import guest_claims, quote_claims, signature_claims
from blindllama._strict_json import parse_json
from blindllama.errors import Code, FormatError, UsageError
from blindllama.evidence import parse_evidence

if TYPE_CHECKING:
    from blindllama._strict_json import JsonValue

__all__ = ["file_claims", "read_claims_file", "statement_of"]

_STEP: Final = 2
_UNREADABLE: Final = (
    KeyError,
    TypeError,
    ValueError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.ExtensionNotFound,
    x509.InvalidVersion,
)
"""What reading a stranger's certificate raises."""
_LIMIT: Final = 4 << 20
_ISSUER: Final = x509.ObjectIdentifier("1.3.6.1.4.1.57264.1.8")
"""The certificate extension with the OIDC issuer, a DER UTF8String (Fulcio's list of OIDs)."""


def read_claims_file(path: Path) -> bytes:
    """Return a file's bytes, if they can be something that is inspected.

    Raises:
        UsageError: it cannot be read, or is larger than any document.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_LIMIT + 1)
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror or exc}") from exc
    if len(data) > _LIMIT:
        raise UsageError(f"{path}; expected a document of at most {_LIMIT} bytes; got more")
    return data


def file_claims(data: bytes, *, signature: bytes | None = None) -> dict[str, object]:
    """Return what the bytes claim, by what they look like.

    Raises:
        FormatError: they are none of the known documents.
        UsageError: there is a signature, and they are no quote.
    """
    if not data.lstrip(b" \t\r\n").startswith(b"{"):
        claims: dict[str, object] = {"kind": "quote", "quote": quote_claims(data)}
        if signature is not None:
            claims["signature"] = signature_claims(signature)
        return claims
    if signature is not None:
        raise UsageError("--signature; expected beside a quote alone; got a JSON document")
    document: Any = parse_json(data, limit=_LIMIT, step=_STEP, what="file")
    if "dsseEnvelope" in document:
        return {"kind": "bundle", **_bundle_claims(document)}
    if "layout" in document:
        return {"kind": "release evidence", **_release_claims(document)}
    return {"kind": "guest evidence", **guest_claims(parse_evidence(data))}


def statement_of(bundle: JsonValue) -> dict[str, Any]:
    """Return the statement that a Sigstore bundle claims to hold.

    Raises:
        FormatError: `bundle.malformed`, or `format.*` for what is inside.
    """
    try:
        payload = base64.b64decode(bundle["dsseEnvelope"]["payload"], validate=True)  # type: ignore[index,call-overload,arg-type]
    except (KeyError, TypeError, ValueError) as exc:
        raise _malformed("a bundle with a statement in it") from exc
    statement = parse_json(payload, limit=_LIMIT, step=_STEP, what="statement")
    if not isinstance(statement, dict):
        raise _malformed("a statement")
    return statement


def _release_claims(document: Any) -> dict[str, object]:  # noqa: ANN401 - JSON of a stranger
    index = statement_of(document.get("index"))
    predicate = _mapping(index.get("predicate"))
    provenance = document.get("provenance")
    bundles = [
        ("index", document.get("index")),
        ("measurements", document.get("measurements")),
        *(
            ("provenance", bundle)
            for bundle in (provenance if isinstance(provenance, list) else ())
        ),
    ]
    return {
        "release": {
            name: predicate.get(name)
            for name in ("name", "sequence", "created", "expires", "revoked")
        },
        "layout signed by": _key_ids(document.get("layout")),
        "links": _count(document.get("links")),
        "rebuilds": _count(document.get("rebuilds", [])),
        "statements": [{"document": name, **_bundle_claims(bundle)} for name, bundle in bundles],
    }


def _bundle_claims(bundle: JsonValue) -> dict[str, object]:
    statement = statement_of(bundle)
    subjects = statement.get("subject")
    return {
        "type": statement.get("predicateType"),
        "signer": _signer(bundle),
        "subjects": {
            str(_mapping(subject).get("name")): _mapping(_mapping(subject).get("digest")).get(
                "sha256"
            )
            for subject in (subjects if isinstance(subjects, list) else ())
        },
    }


def _signer(bundle: JsonValue) -> dict[str, object]:
    material = _mapping(_mapping(bundle).get("verificationMaterial"))
    try:
        der = base64.b64decode(material["certificate"]["rawBytes"], validate=True)
        certificate = x509.load_der_x509_certificate(der)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        issuer = certificate.extensions.get_extension_for_oid(_ISSUER).value.public_bytes()
    except _UNREADABLE:
        return {"unreadable": "its certificate"}
    return {
        "identity": [str(getattr(name, "value", name)) for name in names],
        "issuer": issuer[2:].decode("utf-8", errors="replace"),
        "certificate_sha256": hashlib.sha256(der).hexdigest(),
    }


def _key_ids(envelope: JsonValue) -> list[str]:
    signatures = _mapping(envelope).get("signatures")
    return [
        str(_mapping(one).get("keyid"))
        for one in (signatures if isinstance(signatures, list) else ())
    ]


def _count(value: JsonValue) -> int:
    return len(value) if isinstance(value, list) else 0


def _mapping(value: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON of a stranger
    return value if isinstance(value, dict) else {}


def _malformed(expected: str) -> FormatError:
    return FormatError("file", code=Code.BUNDLE_MALFORMED, step=_STEP, expected=expected)
