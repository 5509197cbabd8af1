"""Measure and print: `python -m tests.bench [NAME…]`; the figures also go to build/bench.json.

A run of everything writes docs/benchmarks.md anew.
"""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench import (
    channel,
    crowd,
    engine,
    front,
    ingress,
    start,
    stock,
    upload,
    verification,
)
from tests.bench.page import PAGE, benchmarks_page
from tests.bench.paired import Figure, NotMeasuredError, OpenBench, Spread, measure, shown

BENCHES: Mapping[str, OpenBench] = {
    "quote": verification.quote,
    "verification": verification.full,
    "cosign": stock.cosigned,
    "import": start.importing,
    "help": start.helping,
    "request": channel.request,
    "token": channel.token,
    "openai_token": channel.openai_token,
    "hashing": engine.hashing,
    "front": front.answer,
    "front_token": front.token,
    "azure_upload": upload.disk,
    "ingress": ingress.answer,
    **crowd.BENCHES,
}
"""Every bench by the name that the command line takes."""

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "bench.json"


def main(names: Sequence[str]) -> None:
    """Measure the benches named, or all of them."""
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        sys.exit(f"benches; expected some of {', '.join(BENCHES)}; got {', '.join(unknown)}")
    figures = []
    for name in names or BENCHES:
        try:
            with BENCHES[name]() as bench:
                figures.append(measure(bench))
        except NotMeasuredError as exc:
            print(f"{name}: not measured: {exc}", flush=True)  # noqa: T201 - likewise
            continue
        print(line(figures[-1]), flush=True)  # noqa: T201 - this is a command
    about = machine()
    OUTPUT.parent.mkdir(exist_ok=True)
    OUTPUT.write_text(json.dumps(document(figures, about), indent=1) + "\n", encoding="utf-8")
    if not names:
        page = benchmarks_page(figures, about, today=datetime.now(UTC).date())
        PAGE.write_text(page, encoding="utf-8")


def line(figure: Figure) -> str:
    """One figure for people: medians, the middle half in brackets, the goal."""
    parts = [f"{figure.name}: {_time(figure.subject)}"]
    if figure.baseline is not None:
        parts.append(f"against {_time(figure.baseline)}")
    if figure.ratio is not None:
        ratio = figure.ratio
        parts.append(f"ratio {ratio.median:.3f} [{ratio.low:.3f} to {ratio.high:.3f}]")
    if figure.more is not None:
        parts.append(f"difference {_time(figure.more)}")
    return "; ".join(parts) + f"; goal {figure.goal}: {'met' if figure.met else 'NOT MET'}"


def machine() -> Mapping[str, Any]:
    """What the figures depend on."""
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
    }


def document(figures: Sequence[Figure], about: Mapping[str, Any]) -> object:
    """The figures and the machine that they are about."""
    return {"version": 1, "machine": about, "figures": [asdict(figure) for figure in figures]}


def _time(spread: Spread) -> str:
    return f"{shown(spread.median)} [{shown(spread.low)} to {shown(spread.high)}]"


if __name__ == "__main__":
    main(sys.argv[1:])
