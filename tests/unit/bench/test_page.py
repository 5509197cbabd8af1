from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.bench.__main__ import MEASURES, SECTIONS, main
from tests.bench.page import PAGE, benchmarks_page
from tests.bench.paired import Bench, Figure, NotMeasuredError, measure
from tests.bench.record import (
    RECORD,
    Machine,
    Record,
    Row,
    measured_row,
    read_record,
    write_record,
)

NOW = datetime(2026, 11, 28, 7, 30, tzinfo=UTC)
EMPTY = Record(rows={}, absent={})
MACHINE = Machine(system="Linux-6", processor="AMD EPYC", cpus=2, memory_gib=24, python="3.11.7")
OTHER = replace(MACHINE, cpus=64)
PAIRED = measure(
    Bench(name="b", subject=lambda: 2.0, baseline=lambda: 4.0, at_most_ratio=0.4, rounds=5)
)
ALONE = measure(Bench(name="a", subject=lambda: 0.01, at_most_s=0.03, rounds=6))
FREE = measure(Bench(name="f", subject=lambda: 1.0, baseline=lambda: 1.0))


def row(*figures: Figure, machine: Machine = MACHINE) -> Row:
    return Row(figures=figures, began=NOW, load=(4.0, 5.25), machine=machine)


def page(record: Record, **sections: Sequence[str]) -> str:
    named: Mapping[str, Sequence[str]] = sections
    return benchmarks_page(record, named)


def test_the_page_has_each_figure_with_its_spread() -> None:
    record = EMPTY.with_row("one", row(PAIRED, ALONE)).with_row("two", row(FREE, machine=OTHER))
    shown = page(record, First=("one",), Second=("two",))
    took, held = "2.00 s [2.00 s to 2.00 s]", "4.00 s [4.00 s to 4.00 s]"
    when = "2026-11-28 07:30, load 4.0 to 5.2, machine"
    assert f"| b | 5 | {took} | {held} | 0.500 [0.500 to 0.500] | -2.00 s " in shown
    assert f"| ≤ 0.4 × | **not met** | {when} 1 |" in shown
    alone = "| a | 6 | 10.00 ms [10.00 ms to 10.00 ms] | – | – | – | ≤ 30.00 ms | met |"
    assert f"{alone} {when} 1 |" in shown
    assert f"| – |  | {when} 2 |" in shown
    assert "**Machine 1.** 2 processors (AMD EPYC), 24 GiB of memory, Linux-6, Python" in shown
    assert "**Machine 2.** 64 processors" in shown


def test_a_bench_without_its_tool_is_named_and_does_not_replace_what_was_measured() -> None:
    record = EMPTY.without("one", "It compares with cosign, which is not here.")
    shown = page(record, First=("one", "two"))
    assert "Not measured: `one`. It compares with cosign, which is not here." in shown
    assert "Not measured: `two`. It was not run." in shown
    assert "| what |" not in shown
    measured = record.with_row("one", row(ALONE))
    assert measured.absent == {}
    assert measured.without("one", "It compares with cosign, which is not here.") == measured


def test_rows_of_several_runs_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    assert read_record(path) == EMPTY
    write_record(EMPTY.with_row("one", row(PAIRED)).without("three", "No tool."), path)
    write_record(read_record(path).with_row("two", row(ALONE, machine=OTHER)), path)
    assert read_record(path) == Record(
        rows={"one": row(PAIRED), "two": row(ALONE, machine=OTHER)}, absent={"three": "No tool."}
    )


def test_what_is_no_record_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "benchmarks.json"
    path.write_text('{"version": 1, "rows": {"one": {}}, "absent": {}}')
    with pytest.raises(ValueError, match=r"rows.one.figures"):
        read_record(path)


def test_a_row_says_when_it_began_and_on_which_machine() -> None:
    made = measured_row(lambda: [ALONE], machine=MACHINE, clock=lambda: NOW)
    assert isinstance(made, Row)
    assert (made.figures, made.began, made.machine) == ((ALONE,), NOW, MACHINE)
    assert len(made.load) == 2

    def lacking() -> Sequence[Figure]:
        raise NotMeasuredError("no tool")

    assert isinstance(measured_row(lacking, machine=MACHINE, clock=lambda: NOW), NotMeasuredError)


def test_this_machine_is_described() -> None:
    machine = Machine.of_this()
    assert machine.cpus >= 1
    assert machine.memory_gib >= 1
    assert machine.system.startswith("Linux")


def test_each_bench_has_a_place_on_the_page_and_a_name_of_one_word() -> None:
    placed = [name for names in SECTIONS.values() for name in names]
    assert sorted(placed) == sorted(MEASURES)
    assert all(name.isidentifier() for name in MEASURES)


def test_the_page_in_the_docs_is_that_of_the_record() -> None:
    """Run `python -m tests.bench --page` when the page's words or order have changed."""
    assert PAGE.read_text("utf-8") == benchmarks_page(read_record(RECORD), SECTIONS)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["quotes"], "benches; expected some of quote, "),
        (["--rounds=0", "quote"], "rounds; expected at least 1; got 0"),
    ],
)
def test_wrong_arguments_are_refused_before_anything_is_measured(
    arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert says in capsys.readouterr().err
