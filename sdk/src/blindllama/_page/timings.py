"""How long things took, as bars beside their numbers."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["timings"]


def timings(title: str, taken: Sequence[tuple[str, float]]) -> Iterator[str]:
    """Yield a table of times in seconds; the longest fills its bar.

    Args:
        title: What took so long.
        taken: Names with seconds, in the order in which they are shown.
    """
    longest = max((seconds for _, seconds in taken), default=0.0) or 1.0
    yield f"<h2>{escape(title)}</h2>"
    yield f"<table><caption>{escape(title)}, in seconds</caption>"
    yield '<thead><tr><th scope="col">what</th><th scope="col">seconds</th>'
    yield '<th scope="col">share of the longest</th></tr></thead><tbody>'
    for name, seconds in taken:
        share = 100 * seconds / longest
        yield f'<tr><th scope="row">{escape(name)}</th><td>{seconds:.3f}</td><td>'
        yield '<svg class="bar" viewBox="0 0 100 8" preserveAspectRatio="none" role="img" '
        yield f'aria-label="{share:.0f} %"><rect width="{share:.2f}" height="8"/></svg></td></tr>'
    yield "</tbody></table>"
