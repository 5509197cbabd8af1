"""A report as one HTML page: for a phone, for paper, in the dark, and for a screen reader.

The page needs nothing from elsewhere, and the report alone runs nothing: no script, image, font or
form. Its content security policy says so too, so that even text that slipped through the escaping
would stay text.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Final

from blindllama._page.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from blindllama.report import CheckResult, Report

__all__ = ["html_page"]

_STATUSES: Final[Mapping[str, str]] = {
    "passed": "✔ passed",
    "failed": "✘ refused",
    "not_run": "· not run",
}


def html_page(report: Report, *, more: Iterable[str] = (), script: str = "") -> str:
    """Return the page; every value of the report in it is escaped, whoever wrote it.

    Args:
        report: The ten checks.
        more: Sections after them, as HTML that is escaped already.
        script: The one program of the page, ours; none without it.
    """
    return "\n".join(_page(report, more, script)) + "\n"


def _page(report: Report, more: Iterable[str], script: str) -> Iterator[str]:
    verdict = escape(report.verdict[:1].upper() + report.verdict[1:])
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_security_policy(script)}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{verdict}</title>"
    yield f"<style>{STYLE}</style>"
    yield "</head>"
    yield "<body>"
    yield "<main>"
    yield from _verdict(report, verdict)
    # Before the checks: whoever reads "verified" and stops there has read this too.
    yield "<h2>What this does not prove</h2>"
    yield '<ul class="limits">'
    yield from (f"<li>{escape(limit)}</li>" for limit in report.limits)
    yield "</ul>"
    yield "<h2>The ten checks</h2>"
    yield "<ol>"
    for check in report.checks:
        yield from _check(check)
    yield "</ol>"
    yield from more
    yield "</main>"
    if script:
        yield f"<script>{script}</script>"
    yield "</body>"
    yield "</html>"


def _security_policy(script: str) -> str:
    """What the page may load and run: its own style and program, known by their digests."""
    allowed = ["default-src 'none'", "base-uri 'none'", "form-action 'none'"]
    allowed += [f"script-src {_source(script)}"] if script else []
    return "; ".join([*allowed, f"style-src {_source(STYLE)}"])


def _source(text: str) -> str:
    digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")
    return f"'sha256-{digest}'"


def _verdict(report: Report, verdict: str) -> Iterator[str]:
    failed = report.failure
    kind = "passed" if report.passed else "failed" if failed is not None else "not_run"
    yield f'<div class="verdict {kind}">'
    yield f"<h1>{verdict}</h1>"
    if failed is not None:
        yield f"<p>{escape(failed.detail.get('error', 'The check was interrupted.'))}</p>"
    for name, seen in _subject(report):
        yield f"<p>{escape(name)}: {escape(seen)}</p>"
    if report.advice is not None:
        yield f"<p><strong>What to do:</strong> {escape(report.advice)}</p>"
    yield "</div>"


def _subject(report: Report) -> Iterator[tuple[str, str]]:
    """Yield what the verdict is about, as far as checks that passed have seen it."""
    for step, name, key in (
        (10, "Server", "peer"),
        (4, "Release", "release"),
        (1, "Platform", "platform"),
        (4, "Checked", "checked at"),
    ):
        check = report.checks[step - 1]
        if check.status == "passed" and key in check.detail:
            yield name, check.detail[key]


def _check(check: CheckResult) -> Iterator[str]:
    yield f'<li class="{check.status}">'
    yield (
        f'<div class="head"><span class="number">{check.step}.</span>'
        f"<h3>{escape(check.title)}</h3>"
        f'<span class="status">{_STATUSES[check.status]}</span></div>'
    )
    if check.detail:
        yield "<dl>"
        for name, seen in check.detail.items():
            yield f"<dt>{escape(name)}</dt><dd>{escape(seen)}</dd>"
        yield "</dl>"
    yield "</li>"
