from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import publication
from supply_chain.errors import BuildError
from supply_chain.workspace import Workspace


def test_runs_at_the_same_time_never_share_a_number(workspace: Workspace) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: publication._next_sequence(workspace, "x"), range(40)))
    assert sorted(numbers) == list(range(1, 41))


def test_a_damaged_number_is_never_begun_anew(workspace: Workspace) -> None:
    path: Path = workspace.state / "sequence" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(BuildError, match="not below any you published"):
        publication._next_sequence(workspace, "x")
    assert path.read_text() == "{}"
