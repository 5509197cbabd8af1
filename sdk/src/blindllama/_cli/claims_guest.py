"""What a guest's evidence, or a quote alone, claims."""

from __future__ import annotations

import hashlib

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm

from blindllama._tpm.event_log import EV_NO_ACTION, parse_event_log, replay_log
from blindllama._tpm.structures import (
    ATTEST_QUOTE,
    TPM_GENERATED,
    parse_attest,
    parse_quote_body,
    parse_signature,
)
from blindllama.errors import FormatError
from blindllama.evidence import Evidence

__all__ = ["guest_claims", "quote_claims", "signature_claims"]


def guest_claims(evidence: Evidence) -> dict[str, object]:
    """Return what a guest says about itself."""
    return {
        "evidence": evidence.kind,
        "tls_key_sha256": hashlib.sha256(evidence.spki).hexdigest(),
        "attestation_key": _certificate_claims(evidence.ak_certificate),
        "issuers": [_certificate_claims(der) for der in evidence.ak_issuers],
        "pcrs": {str(index): value.hex() for index, value in evidence.pcrs.items()},
        "quote": quote_claims(evidence.attest),
        "signature": signature_claims(evidence.signature),
        "nonce_leaves": evidence.nonce_path.leaves,
        "event_log": _log_claims(evidence),
        "app_events": [{"pcr": event.pcr, "name": event.name} for event in evidence.app_events],
    }


def quote_claims(attest: bytes) -> dict[str, object]:
    """Return what a TPMS_ATTEST says; of another kind than a quote, only its head.

    Raises:
        FormatError: `quote.*`; it is no such structure.
    """
    parsed = parse_attest(attest)
    head: dict[str, object] = {
        "magic": f"0x{parsed.magic:08x}",
        "made_by_a_tpm": parsed.magic == TPM_GENERATED,
        "type": f"0x{parsed.type:04x}",
    }
    if parsed.type != ATTEST_QUOTE:
        return head
    body = parse_quote_body(parsed.body)
    return head | {
        "qualifying_data": body.extra_data.hex(),
        "selections": [
            {"bank": f"0x{one.bank:04x}", "pcrs": list(one.indices)} for one in body.selections
        ],
        "pcr_digest": body.pcr_digest.hex(),
        "firmware_version": f"0x{body.firmware_version:016x}",
        "reset_count": body.clock.reset_count,
        "restart_count": body.clock.restart_count,
    }


def signature_claims(signature: bytes) -> dict[str, object]:
    """Return what a TPMT_SIGNATURE says.

    Raises:
        FormatError: `quote.*`; it is no such structure.
    """
    parsed = parse_signature(signature)
    return {"scheme": f"0x{parsed.scheme:04x}", "hash": f"0x{parsed.hash_algorithm:04x}"}


def _certificate_claims(der: bytes) -> dict[str, object]:
    digest = hashlib.sha256(der).hexdigest()
    try:
        certificate = x509.load_der_x509_certificate(der)
        return {
            "sha256": digest,
            "subject": certificate.subject.rfc4514_string(),
            "issuer": certificate.issuer.rfc4514_string(),
            "valid_until": certificate.not_valid_after_utc.isoformat(),
        }
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion):
        return {"sha256": digest, "unreadable": "not a certificate"}


def _log_claims(evidence: Evidence) -> dict[str, object]:
    try:
        events = parse_event_log(evidence.event_log)
    except FormatError as exc:
        return {"unreadable": str(exc)}
    replayed = replay_log(events)
    counted = [event for event in events if event.type != EV_NO_ACTION]
    return {
        "events": len(counted),
        "replays_to_claimed": [
            index for index, value in evidence.pcrs.items() if replayed[index] == value
        ],
    }
