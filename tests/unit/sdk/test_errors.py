from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindllama import errors
from blindllama._catalogue import catalogue
from blindllama.errors import Code, VerificationError
from blindllama.report import TITLES
from tests.docs.pages import PAGES

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


def test_every_code_has_its_words_and_no_other() -> None:
    families = tomllib.loads(Path(errors.__file__).with_name("errors.toml").read_text("utf-8"))
    described = {
        f"{family}.{reason}" for family, entry in families.items() for reason in entry["because"]
    }
    assert described == {code.value for code in Code}
    for code, reason in catalogue().items():
        assert reason.code is code
        assert reason.because
        assert not reason.because.endswith(".")
        assert reason.advice.endswith(".")
        assert reason.step is None or reason.step in TITLES
        assert {"|", "\n"}.isdisjoint(reason.because + reason.advice)  # cells of a table


def test_an_error_says_what_to_do() -> None:
    error = errors.RollbackError("it", code=Code.RELEASE_REVOKED, step=4)
    assert error.advice.startswith("Do not use this release: its publisher, or you, took it back.")


def test_the_pages_say_what_the_program_says(checkout: Path) -> None:
    """Run `python -m tests.docs.pages` when a code, its words or an option has changed."""
    for name, made in PAGES.items():
        page = (checkout / name).read_text("utf-8")
        assert made(page) == page, name


def test_every_code_is_in_a_table_of_the_checks(checkout: Path) -> None:
    page = (checkout / "docs" / "verification.md").read_text()
    for code in Code:
        assert f"`{code.value}`" in page


def test_every_code_has_a_test(checkout: Path) -> None:
    """A refusal that no test provokes is a claim."""
    asserted: set[str] = set()
    for path in (checkout / "tests").rglob("*.py"):
        if path.name not in {Path(__file__).name, "pages.py"}:
            asserted |= set(_codes_in(path))
    for path in (checkout / "tests" / "conformance").rglob("*.json"):
        asserted |= set(re.findall(r'"code": ?"([a-z0-9_.]+)"', path.read_text("utf-8")))
    assert {code.value for code in Code} - asserted == set()


def _codes_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        match node:
            case ast.Attribute(value=ast.Name(id="Code"), attr=name) if name in Code.__members__:
                yield Code[name].value
            case ast.Constant(value=str(text)):
                yield text


def test_the_page_has_the_ten_steps(checkout: Path) -> None:
    page = (checkout / "docs" / "verification.md").read_text()
    headings = re.findall(r"^## (\d+)\. (.+)$", page, re.MULTILINE)
    assert {int(number): title for number, title in headings} == dict(TITLES)
