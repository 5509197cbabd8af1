"""The verdict as a table of ten checks: the same object on success and on failure.

The verifier fills a `Report` while it goes; a failed check leaves the ones after it `not_run`.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from blindllama.errors import UsageError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

__all__ = ["TITLES", "CheckResult", "Report", "Status"]

TITLES: Mapping[int, str] = MappingProxyType(
    {
        1: "Policy",
        2: "Release",
        3: "Chain",
        4: "Freshness of the release",
        5: "Expected PCRs",
        6: "Evidence",
        7: "Attestation key",
        8: "Quote",
        9: "Measurements",
        10: "Channel",
    }
)
"""The ten checks; `docs/verification.md` describes each under its number."""


class Status(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_RUN = "not_run"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One of the ten checks: how it ended, what was seen, how long it took."""

    step: int
    """The number of the check, 1 to 10."""
    title: str
    status: Status
    detail: Mapping[str, str]
    """What the check saw, by name; on a failure also `code` and `error`."""
    elapsed_s: float

    def to_json(self) -> dict[str, object]:
        """Return the check as JSON-shaped data."""
        return {
            "step": self.step,
            "title": self.title,
            "status": self.status.value,
            "detail": dict(self.detail),
            "elapsed_s": round(self.elapsed_s, 6),
        }


def _not_run(step: int) -> CheckResult:
    return CheckResult(
        step=step,
        title=TITLES[step],
        status=Status.NOT_RUN,
        detail=MappingProxyType({}),
        elapsed_s=0.0,
    )


def _no_clock() -> float:
    return 0.0


@dataclass(slots=True, kw_only=True)
class Report:
    """The ten checks of one verification, in order."""

    clock: Callable[[], float] = _no_clock
    """A monotonic clock in seconds; without one, no times are measured."""
    _checks: dict[int, CheckResult] = field(
        default_factory=lambda: {step: _not_run(step) for step in TITLES}
    )

    @property
    def checks(self) -> tuple[CheckResult, ...]:
        """All ten checks, in order, whether they ran or not."""
        return tuple(self._checks[step] for step in TITLES)

    @property
    def passed(self) -> bool:
        """True when every one of the ten checks passed."""
        return all(check.status is Status.PASSED for check in self.checks)

    @property
    def failure(self) -> CheckResult | None:
        """The check that failed, if one did."""
        failed = (check for check in self.checks if check.status is Status.FAILED)
        return next(failed, None)

    @contextmanager
    def check(self, step: int) -> Iterator[MutableMapping[str, str]]:
        """Record the block as the check of that number; the mapping given takes its details.

        A `VerificationError` marks its own step as failed, takes this report with it and goes on.
        A check whose block runs more than once keeps its details and adds up its time.
        """
        if step not in TITLES:
            raise UsageError(f"number of a check; expected 1 to {len(TITLES)}; got {step}")
        before = self._checks[step]
        detail: dict[str, str] = dict(before.detail)
        started = self.clock()
        try:
            yield detail
        except VerificationError as exc:
            detail |= {"code": exc.code.value, "error": str(exc)}
            self._record(step, Status.FAILED, detail, started, before)
            exc.report = self
            raise
        except BaseException:
            self._record(step, Status.FAILED, detail, started, before)
            raise
        self._record(step, Status.PASSED, detail, started, before)

    def _record(
        self,
        step: int,
        status: Status,
        detail: Mapping[str, str],
        started: float,
        before: CheckResult,
    ) -> None:
        self._checks[step] = CheckResult(
            step=step,
            title=TITLES[step],
            status=status,
            detail=MappingProxyType(dict(detail)),
            elapsed_s=before.elapsed_s + self.clock() - started,
        )

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON-shaped data."""
        return {"version": 1, "passed": self.passed, "checks": [c.to_json() for c in self.checks]}

    def json_text(self) -> str:
        """Return the report as indented JSON, ending in a newline."""
        return json.dumps(self.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def text(self) -> str:
        """Return the report as plain text, one line per check and one per detail."""
        return "".join(_lines(check) for check in self.checks)

    def render(self, *, width: int = 100, color: bool = True) -> str:
        """Return the report as a table for a terminal; plain text where rich is not installed."""
        try:
            from rich.console import Console  # noqa: PLC0415 - only a terminal needs it
            from rich.table import Table  # noqa: PLC0415
            from rich.text import Text  # noqa: PLC0415
        except ModuleNotFoundError:
            return self.text()
        table = Table(box=None, pad_edge=False)
        for heading in ("", "check", "what was seen", "ms"):
            table.add_column(heading, justify="right" if heading in {"", "ms"} else "left")
        for check in self.checks:
            table.add_row(
                str(check.step),
                Text(f"{_MARKS[check.status]} {check.title}", style=_STYLES[check.status]),
                Text("\n".join(f"{name}: {seen}" for name, seen in check.detail.items())),
                f"{check.elapsed_s * 1000:.0f}" if check.status is not Status.NOT_RUN else "",
            )
        console = Console(width=width, force_terminal=color, no_color=not color)
        with console.capture() as captured:
            console.print(table)
        return captured.get()

    def __str__(self) -> str:
        """Return the report as plain text."""
        return self.text()


_MARKS = {Status.PASSED: "✔", Status.FAILED: "✘", Status.NOT_RUN: "·"}
_STYLES = {Status.PASSED: "green", Status.FAILED: "bold red", Status.NOT_RUN: "dim"}


def _lines(check: CheckResult) -> str:
    head = f"{_MARKS[check.status]} {check.step:2} {check.title}"
    if check.status is not Status.NOT_RUN:
        head += f" ({check.elapsed_s * 1000:.0f} ms)"
    return "".join(
        f"{line}\n"
        for line in (head, *(f"     {name}: {seen}" for name, seen in check.detail.items()))
    )
