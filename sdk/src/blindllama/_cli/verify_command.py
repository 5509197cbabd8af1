"""`blindllama verify`: the ten checks, whether they pass or not."""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from pathlib import Path

from blindllama._cli.connect import connect, evidence_path, policy_path
from blindllama._cli.output import Output
from blindllama.errors import UsageError
from blindllama.policy import Policy
from blindllama.release import verify_release
from blindllama.report import Report

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
    if options.url is not None or options.memory is not None:
        raise UsageError("--release-only; expected neither URL nor --memory: no guest is asked")
    if options.release is None or options.policy is None or options.repository is not None:
        raise UsageError("--release-only; expected --release and --policy")
    evidence = _content(evidence_path(options.release))
    report = Report(clock=time.perf_counter)
    try:
        with report.check(1):
            policy = Policy.from_file(policy_path(options.policy))
        verify_release(evidence, policy, datetime.now(UTC), report=report)
    finally:
        output.field("report", report.to_json())
        output.show(report)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{path}: {exc.strerror or exc}") from exc
