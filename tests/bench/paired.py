"""Paired measurements: two things in one run, by turns, so that the machine's mood hits both.

A sample is a function that returns seconds, so a bench may time a part of what it does (the first
token of a stream, not the rest of it). Nothing here judges time inside a test: `./do nox -s bench`
prints figures, and says of each whether it reaches its goal.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

Sample = Callable[[], float]
"""Does the thing once and returns how many seconds it took."""

FEWEST_ROUNDS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """What a figure must be: at most one of the three."""

    at_most_ratio: float | None = None
    """The subject takes at most this many times the baseline."""
    at_most_s: float | None = None
    """The subject takes at most this long."""
    at_most_more_s: float | None = None
    """The subject takes at most this much longer than the baseline."""


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
    warm: bool = True
    """Whether a round comes before those that count; what takes minutes goes without."""

    def __post_init__(self) -> None:
        goals = (self.at_most_ratio, self.at_most_s, self.at_most_more_s)
        if sum(goal is not None for goal in goals) > 1:
            raise ValueError(f"bench {self.name}; expected at most one goal")
        if self.at_most_s is None and self.baseline is None:
            raise ValueError(f"bench {self.name}; expected a goal in seconds or a baseline")
        if self.rounds < FEWEST_ROUNDS:
            raise ValueError(f"bench {self.name}; expected at least {FEWEST_ROUNDS} rounds")


class NotMeasuredError(Exception):
    """A bench needs what is not here; the text says what, and is published."""


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
    def of(cls, samples: Sequence[float]) -> Spread:
        """The spread of some samples; a single one has none."""
        if len(samples) == 1:
            return cls(median=samples[0], low=samples[0], high=samples[0])
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
    """For people; empty where there is none."""
    met: bool | None
    """None where there is no goal."""


Measure = Callable[[int | None], Sequence[Figure]]
"""Measures and returns one figure or several; takes how many rounds, None for its own number."""


def measured_alone(open_bench: OpenBench) -> Measure:
    """A bench with one figure as a measurement."""

    def measured(rounds: int | None) -> Sequence[Figure]:
        with open_bench() as bench:
            return (measure(bench, rounds),)

    return measured


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


def measure(bench: Bench, rounds: int | None = None) -> Figure:
    """Run a bench: one round unmeasured, then by turns, each round in the other order.

    Args:
        bench: What is measured.
        rounds: How many rounds count, where not as many as the bench says.
    """
    subject: list[float] = []
    baseline: list[float] = []
    if bench.warm:
        bench.subject()
        if bench.baseline is not None:
            bench.baseline()
    for number in range(rounds or bench.rounds):
        turns = [(subject, bench.subject)]
        if bench.baseline is not None:
            turns.append((baseline, bench.baseline))
        for samples, sample in turns if number % 2 else reversed(turns):
            samples.append(sample())
    goal = Goal(
        at_most_ratio=bench.at_most_ratio,
        at_most_s=bench.at_most_s,
        at_most_more_s=bench.at_most_more_s,
    )
    return figure_of(bench.name, subject, baseline, goal)


def figure_of(
    name: str, subject: Sequence[float], baseline: Sequence[float] = (), goal: Goal = Goal()
) -> Figure:
    """What comes out of some samples.

    Args:
        name: What was measured.
        subject: Seconds of each round.
        baseline: Those of what it is held against, in the same rounds; or nothing.
        goal: What it must be.
    """
    pairs = list(zip(subject, baseline, strict=True)) if baseline else []
    took = Spread.of(subject)
    ratio = Spread.of([mine / other for mine, other in pairs]) if pairs else None
    more = Spread.of([mine - other for mine, other in pairs]) if pairs else None
    text, met = "", None
    if goal.at_most_ratio is not None and ratio is not None:
        text, met = f"≤ {goal.at_most_ratio:.3g} ×", ratio.median <= goal.at_most_ratio
    elif goal.at_most_more_s is not None and more is not None:
        text, met = f"≤ +{shown(goal.at_most_more_s)}", more.median <= goal.at_most_more_s
    elif goal.at_most_s is not None:
        text, met = f"≤ {shown(goal.at_most_s)}", took.median <= goal.at_most_s
    return Figure(
        name=name,
        rounds=len(subject),
        subject=took,
        baseline=Spread.of(baseline) if baseline else None,
        ratio=ratio,
        more=more,
        goal=text,
        met=met,
    )


def shown(seconds: float) -> str:
    """Seconds as people read them."""
    return f"{1e3 * seconds:.2f} ms" if abs(seconds) < 1 else f"{seconds:.2f} s"
