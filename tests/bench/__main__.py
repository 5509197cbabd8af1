"""Measure and print: `python -m tests.bench [--rounds=N] [--page] [NAME…]`, or all without a name.

Each row goes into docs/benchmarks.json and docs/benchmarks.md as soon as it is measured, in the
place of the one of an earlier run.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from types import MappingProxyType

from supply_chain.errors import BuildError, MissingToolError
from supply_chain.workspace import replace_file
from tests.bench import (
    boot,
    channel,
    crowd,
    engine,
    front,
    ingress,
    os_image,
    release,
    start,
    stock,
    upload,
    verification,
)
from tests.bench.page import PAGE, benchmarks_page, time_cell
from tests.bench.paired import Figure, Measure, NotMeasuredError, OpenBench, measured_alone
from tests.bench.record import Machine, Record, measured_row, read_record, write_record

ALONE: Mapping[str, OpenBench] = MappingProxyType(
    {
        "quote": verification.quote,
        "verification": verification.full,
        "cosign": stock.cosigned,
        "import": start.importing,
        "help": start.helping,
        "request": channel.request,
        "token": channel.token,
        "openai_token": channel.openai_token,
        "hashing": engine.hashing,
        "engine": engine.built,
        "os_image": os_image.built,
        "front": front.answer,
        "front_token": front.token,
        "azure_upload": upload.library,
        "azure_upload_whole": upload.whole,
        "ingress": ingress.answer,
        **crowd.BENCHES,
    }
)
"""Every bench of one figure by its name."""

MEASURES: Mapping[str, Measure] = MappingProxyType(
    {
        **{name: measured_alone(open_bench) for name, open_bench in ALONE.items()},
        # Minutes for each round: they come last.
        "boot": boot.rows,
        "release": release.rows,
    }
)
"""Every bench by the name that the command line takes."""

SECTIONS: Mapping[str, Sequence[str]] = MappingProxyType(
    {
        "The client": (
            *("quote", "verification", "cosign", "request", "token", "openai_token"),
            *("import", "help"),
        ),
        "The build": ("release", "os_image", "engine", "hashing"),
        "The guest": ("boot", "ingress", "front", "front_token", *crowd.BENCHES),
        "Azure": ("azure_upload", "azure_upload_whole"),
    }
)
"""The headings of the page, and what is under them."""


def main(arguments: Sequence[str]) -> None:
    """Measure the benches named, or all of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", allow_abbrev=False)
    parser.add_argument(
        "--rounds", type=int, help="rounds that count (default: as many as each bench says)"
    )
    parser.add_argument(
        "--page", action="store_true", help="write the page from the record, and measure nothing"
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(MEASURES))
    given = parser.parse_args(arguments)
    if unknown := sorted(set(given.names) - MEASURES.keys()):
        parser.error(f"benches; expected some of {', '.join(MEASURES)}; got {', '.join(unknown)}")
    if given.rounds is not None and given.rounds < 1:
        parser.error(f"rounds; expected at least 1; got {given.rounds}")
    if given.page:
        write_page(read_record())
    elif failed := run(given.names or tuple(MEASURES), rounds=given.rounds):
        sys.exit(f"failed, and left as they were: {', '.join(failed)}")


def run(names: Sequence[str], *, rounds: int | None) -> list[str]:
    """Measure these benches, print each and renew the page after each; return which failed.

    Args:
        names: Names of `MEASURES`.
        rounds: How many rounds count, where not as many as each bench says.
    """
    machine = Machine.of_this()
    failed = []
    for name in names:
        print(f"{name} …", flush=True)  # noqa: T201 - this is a command
        try:
            row = measured_row(
                partial(MEASURES[name], rounds), machine=machine, clock=lambda: datetime.now(UTC)
            )
        except MissingToolError as exc:
            row = NotMeasuredError(f"It needs {exc.tool}, which is not here.")
        except BuildError as exc:
            # The others take their time as well: they are not given up for it.
            print(f"{name}: failed: {exc}", flush=True)  # noqa: T201 - likewise
            failed.append(name)
            continue
        # Read anew: another run may have measured other rows meanwhile.
        record = read_record()
        if isinstance(row, NotMeasuredError):
            cause = f" {row.__cause__}" if row.__cause__ else ""
            print(f"{name}: not measured: {row}{cause}", flush=True)  # noqa: T201 - likewise
            record = record.without(name, str(row))
        else:
            for figure in row.figures:
                print(line(figure), flush=True)  # noqa: T201 - likewise
            record = record.with_row(name, row)
        write_record(record)
        write_page(record)
    return failed


def write_page(record: Record) -> None:
    """The page in the docs is that of the record."""
    replace_file(PAGE, benchmarks_page(record, SECTIONS).encode())


def line(figure: Figure) -> str:
    """One figure for people: medians, the middle half in brackets, the goal."""
    parts = [f"{figure.name}: {time_cell(figure.subject)}"]
    if figure.baseline is not None:
        parts.append(f"against {time_cell(figure.baseline)}")
    if figure.ratio is not None:
        ratio = figure.ratio
        parts.append(f"ratio {ratio.median:.3f} [{ratio.low:.3f} to {ratio.high:.3f}]")
    if figure.more is not None:
        parts.append(f"difference {time_cell(figure.more)}")
    if figure.goal:
        parts.append(f"goal {figure.goal}: {'met' if figure.met else 'NOT MET'}")
    return "; ".join(parts)


if __name__ == "__main__":
    main(sys.argv[1:])
