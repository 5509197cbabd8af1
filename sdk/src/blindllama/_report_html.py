"""A report as one HTML page: for a phone, for paper, in the dark, and for a screen reader.

The page needs nothing from elsewhere and runs nothing: no script, image, font or form. Its content
security policy says so too, so that even text that slipped through the escaping would stay text.
"""

from __future__ import annotations

import base64
import hashlib
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blindllama.report import CheckResult, Report

__all__ = ["html_page"]

_STYLE: Final = """
:root {
  color-scheme: light dark;
  --page: #fbfbfa; --card: #ffffff; --ink: #1c1d1f; --quiet: #5b5f66; --line: #dcdddf;
  --passed: #14672f; --failed: #a3161b; --not_run: #5b5f66;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #15171a; --card: #1d2024; --ink: #ececed; --quiet: #a4a9b1; --line: #363a40;
    --passed: #6fd492; --failed: #ff908f; --not_run: #a4a9b1;
  }
}
* { box-sizing: border-box; }
body {
  margin: 0 auto; padding: 1.25rem 1rem 3rem; max-width: 46rem;
  background: var(--page); color: var(--ink);
  font: 1rem/1.5 system-ui, sans-serif; overflow-wrap: anywhere;
}
h1 { font-size: 1.45rem; line-height: 1.25; margin: 0 0 .5rem; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 0; display: inline; }
p { margin: .4rem 0; }
.verdict {
  padding: 1rem; border: 1px solid var(--line); border-left: .45rem solid var(--quiet);
  border-radius: .3rem; background: var(--card);
}
.verdict.passed { border-left-color: var(--passed); }
.verdict.failed { border-left-color: var(--failed); }
.verdict.passed h1, li.passed .status { color: var(--passed); }
.verdict.failed h1, li.failed .status { color: var(--failed); }
ol, .limits { padding: 0; list-style: none; }
ol li { padding: .7rem 0; border-top: 1px solid var(--line); }
ol li:last-child { border-bottom: 1px solid var(--line); }
.head { display: flex; gap: .6rem; align-items: baseline; }
.number { min-width: 1.6em; text-align: right; color: var(--quiet); }
.head h3 { flex: 1; }
.status { font-weight: 600; white-space: nowrap; color: var(--not_run); }
dl { margin: .4rem 0 0 2.2rem; display: grid; grid-template-columns: minmax(6.5rem, auto) 1fr;
  gap: .1rem .8rem; font-size: .9rem; }
dt { color: var(--quiet); }
dd { margin: 0; }
.limits li { padding-left: 1.1rem; text-indent: -1.1rem; margin: .4rem 0; }
.limits li::before { content: "–"; display: inline-block; width: 1.1rem; text-indent: 0; }
@media (max-width: 32rem) {
  dl { grid-template-columns: 1fr; margin-left: 2.2rem; gap: 0; }
  dd { margin-bottom: .35rem; }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt; }
  ol li, .verdict { break-inside: avoid; }
}
"""

_POLICY: Final = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; style-src 'sha256-"
    + base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode("ascii")
    + "'"
)

_STATUSES: Final[Mapping[str, str]] = {
    "passed": "✔ passed",
    "failed": "✘ refused",
    "not_run": "· not run",
}


def html_page(report: Report) -> str:
    """Return the page; every value in it is escaped, whoever wrote it."""
    return "\n".join(_page(report)) + "\n"


def _page(report: Report) -> Iterator[str]:
    verdict = escape(report.verdict[:1].upper() + report.verdict[1:])
    yield "<!DOCTYPE html>"
    yield '<html lang="en">'
    yield "<head>"
    yield '<meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<meta name="color-scheme" content="light dark">'
    yield '<meta name="referrer" content="no-referrer">'
    yield f"<title>{verdict}</title>"
    yield f"<style>{_STYLE}</style>"
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
    yield "</main>"
    yield "</body>"
    yield "</html>"


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
