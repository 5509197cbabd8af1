"""The way from inputs to a running guest, as a picture that takes its colours from the checks."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING, Final

from blindllama.report import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blindllama.report import Report

__all__ = ["picture"]

_WIDTH, _HEIGHT = 122, 44
_BOXES: Final[Mapping[str, tuple[int, int, str, tuple[int, ...]]]] = {
    "inputs": (0, 60, "by digest, in a lock", (3,)),
    "engine": (140, 10, "from the weights", (2, 3)),
    "app disk": (280, 10, "with the engine", (2, 3)),
    "OS disk": (280, 110, "from packages", (2, 3)),
    "measurements": (420, 60, "predicted", (2, 3, 5)),
    "release": (560, 60, "signed, numbered", (2, 3, 4)),
    "guest": (560, 170, "quoted just now", (6, 7, 8, 9)),
    "you": (420, 170, "TLS to its key", (10,)),
}
"""Where a box is, what it says below its name, and the checks that speak for it."""
_ARROWS: Final = (
    ("inputs", "engine"),
    ("engine", "app disk"),
    ("inputs", "OS disk"),
    ("app disk", "measurements"),
    ("OS disk", "measurements"),
    ("measurements", "release"),
    ("release", "guest"),
    ("guest", "you"),
)
_WORDS: Final[Mapping[Status, str]] = {
    Status.PASSED: "passed",
    Status.FAILED: "refused",
    Status.NOT_RUN: "not run",
}


def picture(report: Report) -> Iterator[str]:
    """Yield the picture as one SVG element, with the same in words for who cannot see it."""
    statuses = {name: _status(report, checks) for name, (*_, checks) in _BOXES.items()}
    spoken = ", ".join(f"{name}: {_WORDS[status]}" for name, status in statuses.items())
    yield "<h2>The way to the guest</h2>"
    yield '<div class="wide" tabindex="0" role="region" aria-label="The way, as a picture">'
    yield '<svg class="picture" viewBox="-2 0 686 226" role="img" aria-labelledby="way way-said">'
    yield '<title id="way">From pinned inputs to the running guest</title>'
    yield f'<desc id="way-said">{escape(spoken)}</desc>'
    for start, end in _ARROWS:
        yield f'<path d="{_path(start, end)}"/>'
    for name, (x, y, below, _) in _BOXES.items():
        middle = x + _WIDTH // 2
        mark = {Status.PASSED: "✔ ", Status.FAILED: "✘ ", Status.NOT_RUN: ""}[statuses[name]]
        yield f'<g class="{statuses[name].value}">'
        yield f'<rect x="{x}" y="{y}" width="{_WIDTH}" height="{_HEIGHT}" rx="5"/>'
        yield f'<text x="{middle}" y="{y + 19}">{mark}{escape(name)}</text>'
        yield f'<text class="small" x="{middle}" y="{y + 35}">{escape(below)}</text>'
        yield "</g>"
    yield "</svg></div>"


def _status(report: Report, checks: tuple[int, ...]) -> Status:
    found = {report.checks[number - 1].status for number in checks}
    if Status.FAILED in found:
        return Status.FAILED
    return Status.PASSED if found == {Status.PASSED} else Status.NOT_RUN


def _path(start: str, end: str) -> str:
    """A line from the side of one box to the side of the next, ending in an arrow's head."""
    (x1, y1, *_), (x2, y2, *_) = _BOXES[start], _BOXES[end]
    if x1 == x2:
        x, top, bottom = x1 + _WIDTH // 2, y1 + _HEIGHT, y2
        return f"M{x} {top}V{bottom}m-4 -6l4 6l4 -6"
    forward = x1 < x2
    left = x1 + _WIDTH if forward else x1
    right = x2 if forward else x2 + _WIDTH
    back = -6 if forward else 6
    return f"M{left} {y1 + _HEIGHT // 2}L{right} {y2 + _HEIGHT // 2}m{back} -4l{-back} 4l{back} 4"
