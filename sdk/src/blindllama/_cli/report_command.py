"""`blindllama report`: the ten checks, written to a file for whoever was not there."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from blindllama._cli.connect import connect, evidence_path, policy_path
from blindllama._cli.output import Output
from blindllama.errors import UsageError, VerificationError
from blindllama.page import release_page
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from blindllama.report import Report

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["run"]

_ENDINGS: Final = (".html", ".json", ".txt")


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify the guest and write the report.

    Raises:
        Error: as `verify_and_connect`; the report is written before.
        UsageError: the file cannot be written, its name has none of the known endings, or a bill
            of materials is none of the release.
    """
    path: Path = options.output
    if path.suffix not in _ENDINGS:
        raise UsageError(f"--output; expected a name ending in {', '.join(_ENDINGS)}; got {path}")
    if options.bill and path.suffix != ".html":
        raise UsageError("--bill; expected with a page alone, --output NAME.html")
    bills = {str(bill): _read(bill, "--bill") for bill in options.bill}

    def write(report: Report) -> None:
        text = _text(report, path.suffix, options, bills)
        try:
            path.write_text(text, "utf-8")
        except OSError as exc:
            raise UsageError(f"--output, {path}: {exc.strerror or exc}") from exc
        output.note(f"{report.verdict}; the report is in {path}")

    connect(options, output, show=write).close()


def _text(
    report: Report, form: str, options: argparse.Namespace, bills: Mapping[str, bytes]
) -> str:
    if form == ".json":
        return report.json_text()
    if form == ".txt":
        return report.text()
    evidence, release = _released(options)
    return release_page(report, release=release, evidence=evidence, bills_of_materials=bills)


def _released(options: argparse.Namespace) -> tuple[bytes, VerifiedRelease | None]:
    """The release of the options, verified once more for itself; None where that refuses.

    One that comes from a repository is not fetched again: the page then has the checks alone.
    """
    if options.repository is not None:
        return b"", None
    try:
        evidence = evidence_path(options.release).read_bytes()
        policy = Policy.from_file(policy_path(options.policy))
        return evidence, verify_release(evidence, policy, datetime.now(UTC))
    except (VerificationError, OSError):
        return b"", None


def _read(path: Path, option: str) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise UsageError(f"{option}, {path}: {exc.strerror or exc}") from exc
