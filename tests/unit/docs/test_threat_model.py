"""Every input that a host controls names its test, and the test is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
HEAD = "| input | what becomes of it | where it is tested |"
UNTESTABLE = {"entropy"}
"""That a host did not choose it cannot be seen."""


def rows() -> list[tuple[str, str, str]]:
    page = (ROOT / "docs/threat-model.md").read_text("utf-8")
    table = page.partition(HEAD)[2].partition("\n\n")[0]
    found = [line.strip("| ").split(" | ") for line in table.splitlines() if "---" not in line]
    return [(one[0], one[1], one[2]) for one in found if len(one) == 3]


@pytest.mark.parametrize(("name", "fate", "test"), rows(), ids=[row[0] for row in rows()])
def test_an_input_of_the_host(name: str, fate: str, test: str) -> None:
    """It is measured, ignored, harmless or trusted; only the entropy has no test."""
    assert re.match(r"(measured|ignored|harmless|trusted to the host)", fate)
    named = re.findall(r"`(tests/[^`]+)`", test)
    assert bool(named) != (name in UNTESTABLE)
    for path in named:
        assert (ROOT / path).exists(), path


def test_the_table_was_found() -> None:
    assert len(rows()) > 20
