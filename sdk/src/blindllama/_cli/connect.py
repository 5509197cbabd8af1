"""What `verify` and `ask` have in common: the session, and how a report is shown."""

from __future__ import annotations

import argparse
import shutil
from typing import TextIO

from blindllama.report import Report
from blindllama.session import AttestedSession, verify_and_connect

__all__ = ["connect", "show"]


def connect(options: argparse.Namespace) -> AttestedSession:
    """Return the verified session that the command's options describe.

    Raises:
        Error: as `verify_and_connect`.
    """
    return verify_and_connect(
        options.url,
        release=options.release,
        policy=options.policy,
        memory=options.memory,
        timeout_s=options.timeout,
    )


def show(report: Report, stream: TextIO) -> None:
    """Write the ten checks: a table on a terminal, plain lines elsewhere."""
    if stream.isatty():
        stream.write(report.render(width=shutil.get_terminal_size().columns))
    else:
        stream.write(report.text())
