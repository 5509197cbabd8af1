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

from blindllama._catalogue import catalogue
from blindllama._page.report import html_page
from blindllama._printable import printable
from blindllama._report_text import plain_text, terminal_table
from blindllama.errors import Code, UsageError, VerificationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, MutableMapping

__all__ = ["LIMITS", "TITLES", "CheckResult", "Report", "Status"]

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


LIMITS = (
    "These checks say which bytes run and who vouches for them, not that they are free of faults, "
    "nor that what the model answers is right."
)
"""What no report proves, whatever the platform; shown wherever "verified" is."""

_LONGEST_DETAIL = 2000

_KEY_STEP = 7
"""The check that meets the platform's key, and with it what the platform cannot prove."""


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

    @property
    def verdict(self) -> str:
        """One line: verified, refused and why, or not finished."""
        if self.passed:
            return "verified: all ten checks passed"
        failed = self.failure
        if failed is not None:
            code = failed.detail.get("code", "interrupted")
            return f"refused at check {failed.step}, {failed.title}: {code}"
        done = sum(check.status is Status.PASSED for check in self.checks)
        return f"not finished: {done} of {len(TITLES)} checks passed, the others were not run"

    @property
    def advice(self) -> str | None:
        """What to do about the check that failed."""
        code = None if self.failure is None else self.failure.detail.get("code")
        return None if code is None else catalogue()[Code(code)].advice

    @property
    def limits(self) -> tuple[str, ...]:
        """What this report does not prove, even when all of its checks passed."""
        platform = self._checks[_KEY_STEP].detail.get("limits")
        return (LIMITS,) if platform is None else (LIMITS, f"{platform[:1].upper()}{platform[1:]}.")

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
            detail=MappingProxyType(
                {name: printable(seen, _LONGEST_DETAIL) for name, seen in detail.items()}
            ),
            elapsed_s=before.elapsed_s + self.clock() - started,
        )

    def to_json(self) -> dict[str, object]:
        """Return the report as JSON-shaped data."""
        return {
            "version": 1,
            "passed": self.passed,
            "verdict": self.verdict,
            "advice": self.advice,
            "limits": list(self.limits),
            "checks": [check.to_json() for check in self.checks],
        }

    def json_text(self) -> str:
        """Return the report as indented JSON, ending in a newline."""
        return json.dumps(self.to_json(), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def text(self) -> str:
        """Return the report as plain text: the verdict, the checks, and what they do not prove."""
        return plain_text(self)

    def render(self, *, width: int = 100, color: bool = True) -> str:
        """Return the report as a table for a terminal; plain text where rich is not installed."""
        return terminal_table(self, width=width, color=color)

    def html(self) -> str:
        """Return the report as one page that needs nothing else: no script, image or font."""
        return html_page(self)

    def __str__(self) -> str:
        """Return the report as plain text."""
        return self.text()
