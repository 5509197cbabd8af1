"""`blindllama verify`: the ten checks, whether they pass or not."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime, timedelta

from blindllama._cli.connect import connect, policy_path, release_source
from blindllama._cli.output import Output
from blindllama._verdict import ReleaseSource
from blindllama.errors import UsageError
from blindllama.report import Report
from blindllama.session import MAX_EVIDENCE_AGE_S

__all__ = ["run"]


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify the guest, or the release alone, and show the report.

    Raises:
        Error: as `verify_and_connect`; the report is shown before.
    """
    if options.release_only:
        _verify_release(options, output)
    elif options.url is None:
        raise UsageError("URL; expected https://HOST[:PORT] of a guest, or --release-only")
    else:
        connect(options, output, show=output.show).close()


def _verify_release(options: argparse.Namespace, output: Output) -> None:
    if (options.url, options.address, options.memory) != (None, None, None):
        raise UsageError(
            "--release-only; expected no URL, --address or --memory: no guest is asked"
        )
    source = ReleaseSource(
        release=release_source(options),
        policy=None if options.policy is None else policy_path(options.policy),
        memory=None,
        known=(),
        max_evidence_age=timedelta(seconds=MAX_EVIDENCE_AGE_S),
    )
    report = Report(clock=time.perf_counter)
    try:
        source.verdict(datetime.now(UTC), report)
    finally:
        output.field("report", report.to_json())
        output.show(report)
