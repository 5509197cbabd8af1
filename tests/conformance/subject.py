"""The SDK as a subject of the corpus: a request per line in, a verdict per line out."""

from __future__ import annotations

import base64
import json
import sys
from datetime import datetime
from typing import Any

from blindllama._ak import verify_attestation_key
from blindllama._platform.registry import platform_named
from blindllama.errors import VerificationError
from blindllama.measurements import PlatformName
from blindllama.policy import Policy
from blindllama.release import verify_release
from tests.conformance.vector import case_of

Json = dict[str, Any]


def answer(request: Json) -> Json:
    """The SDK's verdict on a request."""
    document = base64.b64decode(request["document"])
    try:
        _VERIFIERS[request["verify"]](document, request["given"])
    except VerificationError as exc:
        return {"verdict": "reject", "step": exc.step, "code": exc.code.value}
    return {"verdict": "accept"}


def _evidence(document: bytes, given: Json) -> None:
    case_of(given).verify(document)


def _key(document: bytes, given: Json) -> None:
    wire = json.loads(document)
    verify_attestation_key(
        base64.b64decode(wire["certificate"]),
        [base64.b64decode(der) for der in wire["intermediates"]],
        platform=platform_named(PlatformName(given["platform"])),
        roots=frozenset(bytes.fromhex(root) for root in given["roots"]),
        now=datetime.fromisoformat(given["now"]),
    )


def _release(document: bytes, given: Json) -> None:
    verify_release(
        document,
        Policy.from_mapping(given["policy"]),
        datetime.fromisoformat(given["now"]),
        known_sequence=given.get("known_sequence"),
    )


_VERIFIERS = {"evidence": _evidence, "key": _key, "release": _release}


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
