"""One HTML page about a release and the guest that runs it, for whoever was not there.

The page is self-contained: nothing is loaded from elsewhere. Its one program searches the table of
components and is allowed by its digest; without bills of materials there is none.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from blindllama._page.artifacts import artifacts, registers
from blindllama._page.bills import SEARCH, bill_rows, bills
from blindllama._page.picture import picture
from blindllama._page.report import html_page
from blindllama._page.timings import timings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from blindllama.release import VerifiedRelease
    from blindllama.report import Report

__all__ = ["release_page"]


def release_page(
    report: Report,
    *,
    release: VerifiedRelease | None = None,
    evidence: bytes = b"",
    bills_of_materials: Mapping[str, bytes] = MappingProxyType({}),
    built: Sequence[tuple[str, float]] = (),
) -> str:
    """Return the page of a release: the way to the guest, the checks, and what lies behind them.

    Args:
        report: The ten checks, passed or not.
        release: The verified release; without it, the page has what the report has.
        evidence: With `release`: the evidence file that it was verified from.
        bills_of_materials: CycloneDX documents of the release by their names, whole files.
        built: How long each step of the build took, in seconds, where that is known.

    Raises:
        UsageError: a bill of materials is not a file of the release.
    """
    sections = [*picture(report)]
    script = ""
    if release is not None:
        sections += [*artifacts(evidence, release), *registers(release)]
        if bills_of_materials:
            sections += bills(bill_rows(bills_of_materials, release))
            script = SEARCH
    if built:
        sections += timings("How long the build took", built)
    checks = [(f"{check.step}. {check.title}", check.elapsed_s) for check in report.checks]
    if any(seconds for _, seconds in checks):
        sections += timings("How long the checks took", checks)
    return html_page(report, more=sections, script=script)
