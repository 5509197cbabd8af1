"""docs/benchmarks.json: what was measured last of each row, when, and on which machine.

Rows are measured in one run or in several, and each replaces the same row of an earlier run. A row
that could not be measured takes the place of nothing: what was measured before stands.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from pydantic import TypeAdapter

from supply_chain.workspace import replace_file
from tests.bench.paired import Figure, NotMeasuredError

RECORD = Path(__file__).resolve().parents[2] / "docs" / "benchmarks.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What figures depend on, besides what else the machine does."""

    system: str
    processor: str
    """The processor's model; empty where the kernel does not say."""
    cpus: int
    memory_gib: int
    python: str

    @classmethod
    def of_this(cls) -> Machine:
        """This machine."""
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return cls(
            system=platform.platform(),
            processor=_processor(Path("/proc/cpuinfo").read_text("utf-8")),
            cpus=os.cpu_count() or 1,
            memory_gib=round(memory / (1 << 30)),
            python=platform.python_version(),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What a bench gave when it was run last."""

    figures: tuple[Figure, ...]
    began: datetime
    load: tuple[float, float]
    """The load of the last minute at its beginning and at its end, the bench's own included."""
    machine: Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """All rows by the names of their benches."""

    version: int = 1
    rows: Mapping[str, Row]
    absent: Mapping[str, str]
    """Why a bench without a row has none."""

    def with_row(self, name: str, row: Row) -> Record:
        """The record with a row in the place of the one of that name."""
        absent = {other: why for other, why in self.absent.items() if other != name}
        return Record(rows={**self.rows, name: row}, absent=absent)

    def without(self, name: str, why: str) -> Record:
        """The record that says why there is no such row; the same if there is one."""
        if name in self.rows:
            return self
        return Record(rows=self.rows, absent={**self.absent, name: why})


_RECORD = TypeAdapter(Record)


def read_record(path: Path = RECORD) -> Record:
    """The record in a file; an empty one where there is no file.

    Raises:
        ValueError: It is no such record.
    """
    if not path.exists():
        return Record(rows={}, absent={})
    return _RECORD.validate_json(path.read_bytes())


def write_record(record: Record, path: Path = RECORD) -> None:
    """The file holds the record, its rows by name."""
    ordered = Record(
        rows=dict(sorted(record.rows.items())), absent=dict(sorted(record.absent.items()))
    )
    replace_file(path, _RECORD.dump_json(ordered, indent=1) + b"\n")


def measured_row(
    measured: Callable[[], Sequence[Figure]], *, machine: Machine, clock: Callable[[], datetime]
) -> Row | NotMeasuredError:
    """The row of a bench, or what it lacks here.

    Args:
        measured: Measures.
        machine: This machine.
        clock: What time it is.
    """
    began, load = clock(), os.getloadavg()[0]
    try:
        figures = tuple(measured())
    except NotMeasuredError as exc:
        return exc
    return Row(
        figures=figures,
        began=began.replace(microsecond=0),
        load=(round(load, 1), round(os.getloadavg()[0], 1)),
        machine=machine,
    )


def _processor(cpuinfo: str) -> str:
    """The model of the first processor.

    Source: Linux, Documentation/filesystems/proc.rst, /proc/cpuinfo.
    """
    models = (line.partition(":")[2] for line in cpuinfo.splitlines() if "model name" in line)
    return next(models, "").strip()
