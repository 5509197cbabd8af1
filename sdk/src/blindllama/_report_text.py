"""A report as text: plain for files and pipes, a table for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from blindllama.report import CheckResult, Report

__all__ = ["plain_text", "terminal_table"]

_MARKS: Final[Mapping[str, str]] = {"passed": "✔", "failed": "✘", "not_run": "·"}
_STYLES: Final[Mapping[str, str]] = {"passed": "green", "failed": "bold red", "not_run": "dim"}


def plain_text(report: Report) -> str:
    """Return one line for each check and one for each detail, then verdict and limits."""
    return "".join(f"{line}\n" for line in _lines(report))


def terminal_table(report: Report, *, width: int, color: bool) -> str:
    """Return the checks as a table, then verdict and limits; plain text without rich."""
    try:
        from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ModuleNotFoundError:
        return plain_text(report)
    table = Table(box=None, pad_edge=False)
    for heading in ("", "check", "what was seen", "ms"):
        table.add_column(heading, justify="right" if heading in {"", "ms"} else "left")
    for check in report.checks:
        style = _STYLES[check.status]
        table.add_row(
            str(check.step),
            Text(f"{_MARKS[check.status]} {check.title}", style=style),
            Text("\n".join(f"{name}: {seen}" for name, seen in check.detail.items())),
            _milliseconds(check),
        )
    console = Console(width=width, force_terminal=color, no_color=not color)
    with console.capture() as captured:
        console.print(table)
        console.print()
        for line in _closing(report):
            # `Text`, since a string would be read as markup, and strangers write in these.
            console.print(Text(line))
    return captured.get()


def _lines(report: Report) -> Iterator[str]:
    for check in report.checks:
        took = _milliseconds(check)
        yield f"{_MARKS[check.status]} {check.step:2} {check.title}{f' ({took} ms)' if took else ''}"
        for name, seen in check.detail.items():
            yield f"     {name}: {seen}"
    yield ""
    yield from _closing(report)


def _closing(report: Report) -> Iterator[str]:
    yield report.verdict
    if report.advice is not None:
        yield f"what to do: {report.advice}"
    yield "what this does not prove:"
    yield from (f"- {limit}" for limit in report.limits)


def _milliseconds(check: CheckResult) -> str:
    return "" if check.status == "not_run" else f"{check.elapsed_s * 1000:.0f}"
