"""Commands that pages and workflows name exist, with the options that they are given."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.commands import UnknownCommandError, check, commands_in, pages

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("page", [str(page.relative_to(ROOT)) for page in pages(ROOT)])
def test_the_commands_of_a_page(page: str) -> None:
    for command in commands_in((ROOT / page).read_text("utf-8")):
        check(command)


def test_the_quick_start_names_commands() -> None:
    found = commands_in((ROOT / "README.md").read_text("utf-8"))
    assert ["./do", "invoke", "release"] in found
    assert ["./do", "nox"] in found


@pytest.mark.parametrize(
    "text",
    [
        "./do invoke releases",
        "`./do invoke release --fast`",
        "    ./do invoke chain.init --owner",
        "./do nox -s everything",
        "./do nox unit",
        "    blindllama verify --quickly URL",
        "    ./do invoke \\\n        release --fast",
    ],
)
def test_a_command_that_nobody_takes(text: str) -> None:
    (command,) = commands_in(text)
    with pytest.raises(UnknownCommandError):
        check(command)


def test_what_is_no_command() -> None:
    assert commands_in("the blindllama client; `./do COMMAND …`; ./do invoke …") == []
    assert commands_in("    ./do invoke boot.down   # ends it | really") == [
        ["./do", "invoke", "boot.down"]
    ]
    assert commands_in("./do invoke reproduce dist/release > log") == [
        ["./do", "invoke", "reproduce", "dist/release"]
    ]
