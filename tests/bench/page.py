"""docs/benchmarks.md: what `./do nox -s bench` measured last, with method, machine and spread."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.paired import Figure, Spread, shown
from tests.bench.record import Machine, Record, Row

PAGE = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.md"
HEAD = """\
# Benchmarks

Written by `./do nox -s bench`; [figures.md](figures.md) has what was measured by hand, and what the figures mean. `./do nox -s bench -- NAME…` measures some rows anew and leaves the others as they are; [benchmarks.json](benchmarks.json) has the same for programs.

**Method.** What is compared is compared in one run, by turns, each round in the other order, after one round that does not count (except where a round takes minutes), so that the machine's mood hits both sides. A figure is the median, with the middle half of the rounds in brackets; a ratio, or how much more one side took, is taken in each round, so its median is not that of the two columns. Each row says when it began and the load of the machine then and at its end, its own included. No test judges time.

"""
TABLE = """
| what | rounds | took | what it is held against | ratio | more | goal | | measured |
|---|---|---|---|---|---|---|---|---|
"""


def benchmarks_page(record: Record, sections: Mapping[str, Sequence[str]]) -> str:
    """The page of a record.

    Args:
        record: What was measured.
        sections: The names of the benches under each heading, in order.
    """
    machines = _machines(record, sections)
    parts = [HEAD, *(_machine(number, one) for one, number in machines.items())]
    for title, names in sections.items():
        rows = [(name, record.rows[name]) for name in names if name in record.rows]
        parts.append(f"\n## {title}\n")
        if rows:
            parts += [
                TABLE,
                *(_row(f, row, machines) for _, row in rows for f in row.figures),
            ]
        parts += [
            f"\nNot measured: `{name}`. {record.absent.get(name, 'It was not run.')}\n"
            for name in names
            if name not in record.rows
        ]
    return "".join(parts)


def _machines(record: Record, sections: Mapping[str, Sequence[str]]) -> Mapping[Machine, int]:
    """Each machine with its number, in the order in which the page comes to them."""
    names = (name for some in sections.values() for name in some if name in record.rows)
    seen = dict.fromkeys(record.rows[name].machine for name in names)
    return {machine: number for number, machine in enumerate(seen, start=1)}


def _machine(number: int, machine: Machine) -> str:
    return (
        f"**Machine {number}.** {machine.cpus} processors ({machine.processor or 'unnamed'}), "
        f"{machine.memory_gib} GiB of memory, {machine.system}, Python {machine.python}.\n\n"
    )


def _row(figure: Figure, row: Row, machines: Mapping[Machine, int]) -> str:
    low, high = row.load
    ratio, met = figure.ratio, {True: "met", False: "**not met**", None: ""}[figure.met]
    cells = [
        figure.name,
        str(figure.rounds),
        time_cell(figure.subject),
        "–" if figure.baseline is None else time_cell(figure.baseline),
        "–" if ratio is None else f"{ratio.median:.3f} [{ratio.low:.3f} to {ratio.high:.3f}]",
        "–" if figure.more is None else time_cell(figure.more),
        figure.goal or "–",
        met,
        f"{row.began:%Y-%m-%d %H:%M}, load {low:.1f} to {high:.1f}, machine {machines[row.machine]}",
    ]
    return f"| {' | '.join(cells)} |\n"


def time_cell(spread: Spread) -> str:
    """A median with its middle half, for people."""
    return f"{shown(spread.median)} [{shown(spread.low)} to {shown(spread.high)}]"
