"""The log's inclusion promise (signed entry timestamp) of a bundle whose stamp already verified.

The library checks a promise in a run over the whole bundle, in which it would also let the promise
stand in for a bad stamp. So a bundle is run with its stamp alone, which shows the certificate, the
signature and the entry of the log; what the promise adds is checked here: that the log signed this
entry with this time, and that the certificate was valid then.

Source: Rekor API, SignedEntryTimestamp: a signature over the canonical JSON (RFC 8785) of body,
integratedTime, logID and logIndex.
"""

from __future__ import annotations

import base64
import json
from functools import lru_cache
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key

from blindllama.errors import Code, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from cryptography.x509 import Certificate
    from pydantic import JsonValue

__all__ = ["check_promise", "promise_key"]

_STEP = 2


@lru_cache(maxsize=64)
def promise_key(der: bytes) -> ec.EllipticCurvePublicKey | None:
    """Return a log's key when it is of the kind that makes promises: ECDSA P-256, as Rekor's is."""
    try:
        key = load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        return None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return key
    return None


def check_promise(
    entry: Mapping[str, JsonValue],
    *,
    key: ec.EllipticCurvePublicKey,
    certificate: Certificate,
    logged: datetime,
) -> None:
    """Check a promise over a log entry that is known to be the bundle's.

    Args:
        entry: The entry, as sigstore has parsed and would write it.
        key: The log's, valid at that time.
        certificate: The signer's, already verified.
        logged: The entry's integrated time.

    Raises:
        ProvenanceError: `bundle.signature`.
    """
    promise, log = entry.get("inclusionPromise"), entry.get("logId")
    signed = {
        "body": entry["canonicalizedBody"],
        "integratedTime": int(str(entry["integratedTime"])),
        "logID": base64.b64decode(str(_field(log, "keyId"))).hex(),
        "logIndex": int(str(entry.get("logIndex", 0))),
    }
    data = json.dumps(signed, sort_keys=True, separators=(",", ":")).encode()
    signature = base64.b64decode(str(_field(promise, "signedEntryTimestamp")))
    try:
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature as exc:
        raise _refused("another signature") from exc
    if not certificate.not_valid_before_utc <= logged <= certificate.not_valid_after_utc:
        raise _refused(f"a certificate that was not valid at {logged}")


def _field(value: JsonValue, name: str) -> JsonValue:
    return value.get(name) if isinstance(value, dict) else None


def _refused(got: str) -> ProvenanceError:
    return ProvenanceError(
        "log's inclusion promise",
        code=Code.BUNDLE_SIGNATURE,
        step=_STEP,
        expected="a signature of the log over this entry, while the certificate was valid",
        got=got,
    )
