"""`blindllama inspect`: what an evidence document claims, without believing any of it."""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from pathlib import Path

from blindllama._tpm.event_log import EV_NO_ACTION, parse_event_log, replay_log
from blindllama._tpm.structures import parse_attest, parse_quote_body
from blindllama.errors import FormatError, UsageError
from blindllama.evidence import Evidence, parse_evidence

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Write the claims as JSON.

    Raises:
        FormatError: the file is not an evidence document.
        UsageError: it cannot be read.
    """
    evidence = parse_evidence(_content(options.file))
    claims = {
        "verified": False,
        "kind": evidence.kind,
        "tls_key_sha256": hashlib.sha256(evidence.spki).hexdigest(),
        "attestation_key_certificate_sha256": hashlib.sha256(evidence.ak_certificate).hexdigest(),
        "issuers_sha256": [hashlib.sha256(der).hexdigest() for der in evidence.ak_issuers],
        "pcrs": {str(index): value.hex() for index, value in evidence.pcrs.items()},
        "quote": _quote_claims(evidence),
        "nonce_leaves": evidence.nonce_path.leaves,
        "event_log": _log_claims(evidence),
        "app_events": [{"pcr": event.pcr, "name": event.name} for event in evidence.app_events],
    }
    sys.stdout.write(json.dumps(claims, indent=1) + "\n")


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror or exc}") from exc


def _quote_claims(evidence: Evidence) -> dict[str, object]:
    attest = parse_attest(evidence.attest)
    body = parse_quote_body(attest.body)
    return {
        "magic": f"0x{attest.magic:08x}",
        "type": f"0x{attest.type:04x}",
        "qualifying_data": body.extra_data.hex(),
        "selections": [
            {"bank": f"0x{one.bank:04x}", "pcrs": list(one.indices)} for one in body.selections
        ],
        "pcr_digest": body.pcr_digest.hex(),
        "firmware_version": f"0x{body.firmware_version:016x}",
        "reset_count": body.clock.reset_count,
        "restart_count": body.clock.restart_count,
    }


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
