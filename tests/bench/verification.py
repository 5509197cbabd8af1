"""What a verification costs: a quote with its chain, and all of steps 1 to 9."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from blindllama._ak import verify_attestation_key
from blindllama._platform.registry import platform_named
from blindllama._tpm.quote import ExpectedQuote, qualifying_data, verify_quote
from blindllama.evidence import parse_evidence
from blindllama.release import verify_release
from tests.bench.paired import Bench, NotMeasuredError, timed
from tests.conformance.checkquote import TOOL, checkquote_argv, write_quote
from tests.conformance.corpus import read_document
from tests.conformance.vector import read_case
from tests.simulators.signed_release import make_signed_release

QUOTE_GOAL = 1 / 15
FULL_GOAL_S = 0.030


@contextmanager
def quote() -> Iterator[Bench]:
    """A quote and the chain of its key, against one run of tpm2_checkquote without a chain."""
    if shutil.which(TOOL) is None:
        raise NotMeasuredError(f"It compares with {TOOL}, which is not here: install tpm2-tools.")
    case = read_case()
    evidence = parse_evidence(read_document("alone"))
    place = platform_named(case.platform)
    data = qualifying_data(spki=case.spki, nonce=case.nonce, path=evidence.nonce_path)
    expected = ExpectedQuote(qualifying_data=data, selection=place.quoted, schemes=place.schemes)

    def ours() -> None:
        ak = verify_attestation_key(
            evidence.ak_certificate,
            evidence.ak_issuers,
            platform=place,
            roots=case.roots,
            now=case.now,
        )
        verify_quote(
            attest=evidence.attest,
            signature=evidence.signature,
            key=ak.public_key,
            claimed=evidence.pcrs,
            expected=expected,
        )

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ak = verify_attestation_key(
            evidence.ak_certificate,
            evidence.ak_issuers,
            platform=place,
            roots=case.roots,
            now=case.now,
        )
        write_quote(
            folder,
            key=ak.public_key,
            attest=evidence.attest,
            signature=evidence.signature,
            pcrs=evidence.pcrs,
        )
        argv = checkquote_argv(folder, data)

        def theirs() -> None:
            subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)

        yield Bench(
            name="quote with its chain, against tpm2_checkquote without",
            subject=timed(ours, calls=20),
            baseline=timed(theirs),
            at_most_ratio=QUOTE_GOAL,
        )


@contextmanager
def full() -> Iterator[Bench]:
    """Steps 1 to 9 on a release of the local Sigstore, warm and offline."""
    case = read_case()
    document = read_document("alone")
    with tempfile.TemporaryDirectory() as name:
        release = make_signed_release(Path(name))

    def verify() -> None:
        verify_release(release.evidence, release.policy, release.now)
        case.verify(document)

    yield Bench(
        name="release and evidence, warm and offline, processor time",
        subject=timed(verify, clock=time.process_time),
        at_most_s=FULL_GOAL_S,
    )
