"""docs/first-hour.md: what it quotes is said by the program, and the tests that it names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
ROWS = [
    [cell.strip() for cell in line.strip("|").split(" | ")]
    for line in (ROOT / "docs" / "first-hour.md").read_text("utf-8").splitlines()
    if line.startswith("| ") and not line.startswith("| what you read")
]
SAID = "\n".join(
    path.read_text("utf-8")
    for folder in ("supply_chain", "deploy", "sdk/src")
    for path in sorted((ROOT / folder).rglob("*.[pt]*"))
    if path.suffix in {".py", ".toml"}
) + (ROOT / "do").read_text("utf-8")


def test_there_are_rows() -> None:
    assert len(ROWS) >= 10
    assert {len(row) for row in ROWS} == {4}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row(row: list[str]) -> None:
    said = re.fullmatch("`(.*)`", row[0])
    if said is not None:
        # A sentence may be broken over lines of the source.
        assert said[1] in re.sub(r'"\s*\n\s*f?"', "", SAID)
    place, _, name = row[3].strip("`").partition("::")
    source = (ROOT / place).read_text("utf-8")
    assert f"def {name}(" in source
