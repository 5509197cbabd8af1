"""`blindllama verify`: the ten checks, whether they pass or not."""

from __future__ import annotations

import argparse
import sys

from blindllama._cli.connect import connect, show
from blindllama.errors import VerificationError
from blindllama.report import Report

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Verify the guest and show the report.

    Raises:
        Error: as `verify_and_connect`; the report is shown before.
    """
    try:
        with connect(options) as session:
            _show(session.report, as_json=options.json)
    except VerificationError as exc:
        if exc.report is not None:
            _show(exc.report, as_json=options.json)
        raise


def _show(report: Report, *, as_json: bool) -> None:
    if as_json:
        sys.stdout.write(report.json_text())
    else:
        show(report, sys.stdout)
    sys.stdout.flush()
