from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.bench.__main__ import line
from tests.bench.paired import Bench, Spread, measure, timed


class Tape:
    """Samples that were recorded, and the order in which they were asked for."""

    def __init__(self) -> None:
        self.order = ""

    def of(self, name: str, samples: Iterator[float]) -> Any:  # noqa: ANN401 - a Sample
        def sample() -> float:
            self.order += name
            return next(samples)

        return sample


def test_subject_and_baseline_take_turns_and_the_first_round_does_not_count() -> None:
    tape = Tape()
    figure = measure(
        Bench(
            name="b",
            subject=tape.of("s", iter((99.0, 1.0, 2.0, 3.0, 4.0, 5.0))),
            baseline=tape.of("b", iter((99.0, 2.0, 4.0, 6.0, 8.0, 20.0))),
            at_most_ratio=0.5,
            rounds=5,
        )
    )
    assert tape.order == "sb" + "bs" + "sb" + "bs" + "sb" + "bs"
    assert figure.subject == Spread(median=3.0, low=2.0, high=4.0)
    assert figure.ratio == Spread(median=0.5, low=0.5, high=0.5)
    assert figure.more == Spread(median=-3.0, low=-4.0, high=-2.0)
    assert figure.met
    assert "goal ≤ 0.5 ×: met" in line(figure)


@pytest.mark.parametrize(
    ("goal", "met"),
    [
        ({"at_most_s": 2.0}, True),
        ({"at_most_s": 1.9}, False),
        ({"at_most_more_s": 1.0}, True),
        ({"at_most_more_s": 0.9}, False),
        ({"at_most_ratio": 2.0}, True),
        ({"at_most_ratio": 1.9}, False),
    ],
)
def test_goals(goal: dict[str, Any], *, met: bool) -> None:
    bench = Bench(name="b", subject=lambda: 2.0, baseline=lambda: 1.0, rounds=5, **goal)
    figure = measure(bench)
    assert figure.met is met
    assert line(figure).endswith(": met" if met else ": NOT MET")


def test_a_goal_in_seconds_needs_no_baseline() -> None:
    figure = measure(Bench(name="b", subject=lambda: 0.01, at_most_s=0.03))
    assert (figure.baseline, figure.ratio, figure.more) == (None, None, None)
    assert line(figure) == "b: 10.00 ms [10.00 ms to 10.00 ms]; goal ≤ 30.00 ms: met"


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"at_most_s": 1.0, "at_most_ratio": 1.0},
        {"at_most_ratio": 1.0},
        {"at_most_s": 1.0, "rounds": 4},
    ],
)
def test_a_bench_without_one_clear_goal_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="bench b; expected"):
        Bench(name="b", subject=lambda: 0.0, **wrong)


def test_a_sample_is_the_mean_of_its_calls() -> None:
    times = iter((10.0, 16.0))
    called: list[int] = []
    assert timed(lambda: called.append(1), calls=3, clock=lambda: next(times))() == 2.0
    assert len(called) == 3


def test_rounds_that_are_asked_for_and_no_goal() -> None:
    tape = Tape()
    bench = Bench(
        name="b",
        subject=tape.of("s", iter((3.0,))),
        baseline=tape.of("b", iter((4.0,))),
        warm=False,
    )
    figure = measure(bench, 1)
    assert (tape.order, figure.rounds) == ("bs", 1)
    assert figure.ratio == Spread(median=0.75, low=0.75, high=0.75)
    assert (figure.goal, figure.met) == ("", None)
    assert line(figure).endswith("; difference -1.00 s [-1.00 s to -1.00 s]")
