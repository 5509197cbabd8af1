from __future__ import annotations

from pathlib import Path

import pytest

from supply_chain.errors import BootError
from tests.bench import boot, release
from tests.bench.boot_times import CLOCK_AHEAD, STAGES, checked
from tests.bench.paired import Spread


def test_a_release_is_held_against_a_fresh_one_and_against_its_boot() -> None:
    samples = {"cold": (90.0, 100.0), "warm": (44.0, 44.0), "asked": (40.0, 42.0)}
    cold, against, more = release.figures(samples)
    assert (cold.subject.median, cold.goal, cold.met) == (95.0, "≤ 900.00 s", True)
    assert against.baseline == Spread(median=95.0, low=92.5, high=97.5)
    assert (against.goal, against.met) == ("", None)
    assert more.more is not None
    assert (more.more.median, more.goal, more.met) == (3.0, "≤ +3.00 s", True)


def test_a_fresh_checkout_has_the_sources_and_inputs_and_nothing_that_was_made(
    tmp_path: Path,
) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "input").write_bytes(b"fetched")
    place = release.fresh_checkout(tmp_path / "place", store)
    assert (place / "tasks.py").read_bytes() == (release.ROOT / "tasks.py").read_bytes()
    assert (place / ".cache/store/input").read_bytes() == b"fetched"
    assert [path.name for path in (place / ".cache").iterdir()] == ["store"]
    assert not {"build", "dist", ".venv", ".git"} & {path.name for path in place.iterdir()}
    assert not list(place.rglob("__pycache__"))


def test_each_stage_of_a_boot_is_a_row_and_all_of_them_together() -> None:
    ours = dict(zip(STAGES, (3.0, 2.0, 13.0, 6.0), strict=True))
    stock = dict(zip(STAGES, (3.0, 2.0, 26.0, 6.0), strict=True))
    figures = boot.figures({"ours": [ours, ours], "stock": [stock, stock]})
    assert len(figures) == len(STAGES) + 1
    attested, whole = figures[2], figures[-1]
    assert attested.ratio is not None
    assert (attested.ratio.median, attested.goal, attested.met) == (0.5, "≤ 12.00 s", False)
    assert [figure.goal for figure in figures if figure is not attested] == [""] * len(STAGES)
    assert whole.baseline is not None
    assert (whole.subject.median, whole.baseline.median) == (24.0, 37.0)


def test_a_boot_with_a_stage_of_less_than_no_time_does_not_count() -> None:
    stages = dict(zip(STAGES, (36.6, 12.0, 262.6, 108.6), strict=True))
    assert checked(stages) is stages
    with pytest.raises(BootError, match=f"{CLOCK_AHEAD}: firmware 36.6 s, boot stub -138.3 s"):
        checked({**stages, "boot stub": -138.3})
