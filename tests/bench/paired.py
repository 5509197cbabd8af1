"""Paired measurements: two things in one run, by turns, so that the machine's mood hits both.

A sample is a function that returns seconds, so a bench may time a part of what it does (the first
token of a stream, not the rest of it). Nothing here judges time inside a test: `./do nox -s bench`
prints figures, and says of each whether it reaches its goal.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

Sample = Callable[[], float]
"""Does the thing once and returns how many seconds it took."""

FEWEST_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What is measured, what it is held against, and how good it must be."""

    name: str
    subject: Sample
    baseline: Sample | None = None
    """Measured by turns with the subject; None where the goal is in seconds alone."""
    at_most_ratio: float | None = None
    """Goal: the subject takes at most this many times the baseline."""
    at_most_s: float | None = None
    """Goal: the subject takes at most this long."""
    at_most_more_s: float | None = None
    """Goal: the subject takes at most this much longer than the baseline."""
    rounds: int = 15

    def __post_init__(self) -> None:
        goals = (self.at_most_ratio, self.at_most_s, self.at_most_more_s)
        if sum(goal is not None for goal in goals) != 1:
            raise ValueError(f"bench {self.name}; expected exactly one goal")
        if self.at_most_s is None and self.baseline is None:
            raise ValueError(f"bench {self.name}; expected a baseline for its goal")
        if self.rounds < FEWEST_ROUNDS:
            raise ValueError(f"bench {self.name}; expected at least {FEWEST_ROUNDS} rounds")


class NotMeasuredError(Exception):
    """A bench needs what is not installed here; the text says what."""


OpenBench = Callable[[], AbstractContextManager[Bench]]
"""Prepares a bench (servers, keys, files), gives it, and clears up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """Median and middle half of some samples, in seconds or as a ratio."""

    median: float
    low: float
    """First quartile."""
    high: float
    """Third quartile."""

    @classmethod
    def of(cls, samples: list[float]) -> Spread:
        low, median, high = statistics.quantiles(samples, n=4, method="inclusive")
        return cls(median=median, low=low, high=high)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """What came out of one bench."""

    name: str
    rounds: int
    subject: Spread
    """Seconds."""
    baseline: Spread | None
    """Seconds."""
    ratio: Spread | None
    """Of subject to baseline, taken in each round."""
    more: Spread | None
    """Seconds that the subject took more than the baseline, taken in each round."""
    goal: str
    met: bool


def timed(
    function: Callable[[], Any], *, calls: int = 1, clock: Callable[[], float] = time.perf_counter
) -> Sample:
    """A sample of the mean of some calls; several where one is too short for the clock.

    What computes in one thread and waits for nothing may be timed by `time.process_time`: the same
    on an idle machine, and on a busy one without the turns of others.
    """

    def sample() -> float:
        start = clock()
        for _ in range(calls):
            function()
        return (clock() - start) / calls

    return sample


def measure(bench: Bench) -> Figure:
    """Run a bench: one round unmeasured, then by turns, each round in the other order."""
    subject: list[float] = []
    baseline: list[float] = []
    bench.subject()
    if bench.baseline is not None:
        bench.baseline()
    for number in range(bench.rounds):
        turns = [(subject, bench.subject)]
        if bench.baseline is not None:
            turns.append((baseline, bench.baseline))
        for samples, sample in turns if number % 2 else reversed(turns):
            samples.append(sample())
    return _figure(bench, subject, baseline)


def _figure(bench: Bench, subject: list[float], baseline: list[float]) -> Figure:
    pairs = list(zip(subject, baseline, strict=False))
    took = Spread.of(subject)
    ratio = Spread.of([mine / other for mine, other in pairs]) if pairs else None
    more = Spread.of([mine - other for mine, other in pairs]) if pairs else None
    if bench.at_most_ratio is not None and ratio is not None:
        goal, met = f"≤ {bench.at_most_ratio:.3g} ×", ratio.median <= bench.at_most_ratio
    elif bench.at_most_more_s is not None and more is not None:
        goal, met = f"≤ +{shown(bench.at_most_more_s)}", more.median <= bench.at_most_more_s
    else:
        limit = bench.at_most_s or 0.0
        goal, met = f"≤ {shown(limit)}", took.median <= limit
    return Figure(
        name=bench.name,
        rounds=bench.rounds,
        subject=took,
        baseline=Spread.of(baseline) if baseline else None,
        ratio=ratio,
        more=more,
        goal=goal,
        met=met,
    )


def shown(seconds: float) -> str:
    """Seconds as people read them."""
    return f"{1e3 * seconds:.2f} ms" if abs(seconds) < 1 else f"{seconds:.2f} s"
