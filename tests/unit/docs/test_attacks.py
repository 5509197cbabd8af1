"""docs/attacks.md: each row of the guest's attacks has tests, and they exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PAGE = ROOT / "docs" / "attacks.md"
ROWS = [*(f"B{number}" for number in range(1, 11)), *(f"N{number}" for number in range(1, 5))]
_ROW = re.compile(r"^\| ([A-Z]\d+) \|[^|]*\|([^|]*)\|$", re.MULTILINE)
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def named() -> dict[str, list[tuple[str, str]]]:
    """The tests of each row: file and function."""
    page = PAGE.read_text("utf-8")
    return {row: _TEST.findall(tests) for row, tests in _ROW.findall(page)}


def test_every_row_is_there_once_and_in_order() -> None:
    assert _ROW.findall(PAGE.read_text("utf-8"))
    assert [row for row, _ in _ROW.findall(PAGE.read_text("utf-8"))] == ROWS


@pytest.mark.parametrize("row", ROWS)
def test_a_row_names_tests_that_exist(row: str) -> None:
    tests = named()[row]
    assert tests
    for file, function in tests:
        module = ast.parse((ROOT / file).read_text("utf-8"))
        defined = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
        assert function in defined, f"{file}::{function}"
