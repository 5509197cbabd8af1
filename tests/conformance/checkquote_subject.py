"""tpm2_checkquote as a subject of the corpus: the quote alone, as its users call it.

The tool takes a public key, a statement, a signature, register values and the qualifying data. It
knows neither documents nor certificates, so it is asked only where those are in order (by the SDK's
steps 6 and 7), and the verdict on the quote is the tool's. That the values are then compared with
the expected ones, as its users do, is part of the question.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from blindllama._ak import verify_attestation_key
from blindllama._platform.registry import platform_named
from blindllama._tpm.quote import qualifying_data
from blindllama.errors import VerificationError
from blindllama.evidence import Evidence, parse_evidence
from tests.conformance.checkquote import checkquote_argv, write_quote
from tests.conformance.vector import Case, case_of

Json = dict[str, Any]
UNSUPPORTED = {"verdict": "unsupported"}


def answer(request: Json) -> Json:
    """The tool's verdict on the quote in a request."""
    if request["verify"] != "evidence":
        return UNSUPPORTED
    case = case_of(request["given"])
    try:
        evidence = parse_evidence(base64.b64decode(request["document"]))
        data = qualifying_data(spki=case.spki, nonce=case.nonce, path=evidence.nonce_path)
        key = verify_attestation_key(
            evidence.ak_certificate,
            evidence.ak_issuers,
            platform=platform_named(case.platform),
            roots=case.roots,
            now=case.now,
        ).public_key
    except VerificationError:
        return UNSUPPORTED
    if evidence.spki != case.spki or not _whole(case):
        return UNSUPPORTED
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_quote(
            folder,
            key=key,
            attest=evidence.attest,
            signature=evidence.signature,
            pcrs=evidence.pcrs,
        )
        done = subprocess.run(
            checkquote_argv(folder, data),
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
    right = done.returncode == 0 and _as_expected(evidence, case)
    return {"verdict": "accept" if right else "reject"}


def _whole(case: Case) -> bool:
    """Whether the caller expects a value of every register that the platform enforces."""
    return platform_named(case.platform).enforced <= case.expected.values.keys()


def _as_expected(evidence: Evidence, case: Case) -> bool:
    """What a user of the tool does with the values that it has checked."""
    return all(evidence.pcrs.get(index) == value for index, value in case.expected.values.items())


def main() -> None:
    """Answer until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(answer(json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
