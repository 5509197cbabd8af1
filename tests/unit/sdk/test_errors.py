from __future__ import annotations

import re
from pathlib import Path

import pytest

from blindllama import errors
from blindllama.errors import Code, VerificationError
from blindllama.report import TITLES

GOLDEN = Path(__file__).with_name("error_codes.txt")


def test_codes_are_stable() -> None:
    """A program somewhere compares with each of them: adding is free, changing is not."""
    assert [code.value for code in Code] == GOLDEN.read_text().split()


def test_codes_are_unique_and_dotted() -> None:
    values = [code.value for code in Code]
    assert len(set(values)) == len(values)
    assert all(re.fullmatch(r"[a-z]+\.[a-z0-9_]+", value) for value in values)


def test_the_tree_is_the_documented_one() -> None:
    tree = re.findall(r"[├└]── (\w+)", errors.__doc__ or "")
    assert {"Error", "Code", *tree} == set(errors.__all__)
    for name in tree:
        assert issubclass(getattr(errors, name), errors.Error)
    assert not issubclass(errors.NetworkError, VerificationError)
    assert not issubclass(errors.UsageError, VerificationError)


def test_message_says_what_expected_got() -> None:
    error = errors.QuoteError(
        "magic of the quote", code=Code.QUOTE_MAGIC, step=8, expected="ff544347", got="00000000"
    )
    assert str(error) == "magic of the quote; expected ff544347; got 00000000"
    assert (error.code, error.step, error.expected, error.got) == (
        "quote.magic",
        8,
        "ff544347",
        "00000000",
    )
    assert error.report is None


def test_message_may_lack_values() -> None:
    assert str(VerificationError("it", code=Code.BUNDLE_MALFORMED, step=2)) == "it"


@pytest.mark.parametrize("hostile", ["x" * 10_000, "\x1b[2J\n" * 5_000, {"a": "y" * 10_000}])
def test_hostile_values_neither_flood_nor_steer_a_terminal(hostile: object) -> None:
    text = str(VerificationError("it", code=Code.FORMAT_SCHEMA, step=2, got=hostile))
    assert len(text) < 300
    assert text.isprintable()


@pytest.mark.parametrize("hostile", ["x" * 100_000, "\x1b]0;title\x07" * 5_000])
def test_t4_what_a_library_quotes_neither_floods_nor_steers(hostile: str) -> None:
    text = str(VerificationError(hostile, code=Code.FORMAT_SCHEMA, step=6, got=hostile))
    assert len(text) < 1000
    assert text.isprintable()


def test_every_code_is_described(checkout: Path) -> None:
    """docs/verification.md names each code, and no other, under the step that raises it."""
    page = (checkout / "docs" / "verification.md").read_text()
    families = {code.value.partition(".")[0] for code in Code}
    named = re.findall(r"`([a-z]+)\.([a-z0-9_]+)`", page)
    described = {f"{family}.{reason}" for family, reason in named if family in families}
    files = {"evidence.json", "policy.toml"}
    assert described - files == {code.value for code in Code}


def test_the_page_has_the_ten_steps(checkout: Path) -> None:
    page = (checkout / "docs" / "verification.md").read_text()
    headings = re.findall(r"^## (\d+)\. (.+)$", page, re.MULTILINE)
    assert {int(number): title for number, title in headings} == dict(TITLES)
