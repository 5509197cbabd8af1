"""docs/benchmarks.md: what `./do nox -s bench` measured last, with method, machine and spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

from tests.bench.paired import Figure, Spread, shown

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `./do nox -s bench`; [figures.md](figures.md) has what was measured by hand, such as a release from nothing, and what the figures mean.

**Method.** What is compared is compared in one run, by turns, each round in the other order, after one round that does not count, so that the machine's mood hits both sides. A figure is the median, with the middle half of the rounds in brackets; a ratio is taken in each round, so its median is not that of the two columns. No test judges time.

"""


def benchmarks_page(figures: Sequence[Figure], machine: Mapping[str, Any], *, today: date) -> str:
    """The page of a run.

    Args:
        figures: What was measured.
        machine: `system`, `python`, `cpus` and `load`, the load when the run ended.
        today: When.
    """
    rows = [
        "| what | rounds | took | what it is held against | ratio | more | goal | |",
        "|---|---|---|---|---|---|---|---|",
        *map(_row, figures),
    ]
    return (
        HEAD
        + f"**Machine.** {today:%Y-%m-%d}: {machine['system']}, Python {machine['python']}, "
        + f"{machine['cpus']} processors, load {machine['load']:.1f} at the end.\n\n"
        + "\n".join(rows)
        + "\n"
    )


def _row(figure: Figure) -> str:
    cells = [
        figure.name,
        str(figure.rounds),
        _time(figure.subject),
        "–" if figure.baseline is None else _time(figure.baseline),
        "–"
        if figure.ratio is None
        else f"{figure.ratio.median:.3f} [{figure.ratio.low:.3f} to {figure.ratio.high:.3f}]",
        "–" if figure.more is None else _time(figure.more),
        figure.goal,
        "met" if figure.met else "**not met**",
    ]
    return f"| {' | '.join(cells)} |"


def _time(spread: Spread) -> str:
    return f"{shown(spread.median)} [{shown(spread.low)} to {shown(spread.high)}]"
