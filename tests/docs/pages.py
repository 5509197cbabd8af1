"""The parts of the docs that the program itself knows: codes, help texts, and the corpus.

`python -m tests.docs.pages` writes them; a test fails when they have been forgotten.
"""

from __future__ import annotations

import os
import re
from argparse import ArgumentParser
from collections.abc import Callable, Mapping
from pathlib import Path
from unittest.mock import patch

from blindllama._catalogue import Reason, catalogue
from blindllama._cli.parser import make_parser
from blindllama.report import TITLES
from tests.conformance.page import conformance_page

ROOT = Path(__file__).resolve().parents[2]

_ERRORS_HEAD = """\
# Why a check refuses

Every refusal is one `blindllama.VerificationError` with a stable `code`; programs compare the code and never the sentence. This page has all of them, in the order of the checks. [verification.md](verification.md) says what each check does. The page is written by `python -m tests.docs.pages` from `sdk/src/blindllama/errors.toml`, where the command line and the reports have the same words from; a test compares.

Two errors are not refusals and have no code: `NetworkError` (the server was not reached, or went away; nothing was said about its trust; the only one worth a retry; `BusyError`, which is one, has in `retry_after` the seconds to wait) and `UsageError` (an argument that can never be right).
"""

_TABLE = re.compile(
    r"(?P<head>\| code \| refused because \|\n\|---\|---\|\n)(?P<rows>(?:\| `[^\n]*\n)*)"
)
_USAGE = re.compile(r"```text\nusage: blindllama(?: (?P<command>[a-z]+))?\b.*?```", re.DOTALL)
_SECTION = re.compile(r"^## (\d+)\. ", re.MULTILINE)


def errors_page(_: str = "") -> str:
    """docs/errors.md, all of it."""
    page = _ERRORS_HEAD
    for step, title in TITLES.items():
        page += _advice_table(f"{step}. {title}", step)
    return page + _advice_table("Any check", None)


def _advice_table(title: str, step: int | None) -> str:
    head = f"\n## {title}\n\n| code | refused because | what to do |\n|---|---|---|\n"
    return head + "".join(
        f"| `{reason.code}` | {reason.because} | {reason.advice} |\n" for reason in _of_step(step)
    )


def verification_page(page: str) -> str:
    """docs/verification.md with each section's table of codes renewed."""
    starts = [match.start() for match in _SECTION.finditer(page)]
    whole = page[: starts[0]] if starts else page
    for start, end in zip(starts, [*starts[1:], len(page)], strict=True):
        section = page[start:end]
        number = _SECTION.match(section)
        assert number is not None
        whole += _renewed(section, int(number[1]))
    return whole


def _renewed(section: str, step: int) -> str:
    found = _TABLE.search(section)
    if found is None:
        return section
    rows = "".join(f"| `{reason.code}` | {reason.because} |\n" for reason in _of_step(step))
    return section[: found.start("rows")] + rows + section[found.end("rows") :]


def _of_step(step: int | None) -> list[Reason]:
    return [reason for reason in catalogue().values() if reason.step == step]


def cli_page(page: str) -> str:
    """A page with each block that begins with `usage: blindllama` renewed from the program.

    Each Python lays argparse's texts out in its own way; a block that says the same stays as it is.
    """
    return _USAGE.sub(_help_block, page)


def _help_block(found: re.Match[str]) -> str:
    with patch.dict(os.environ, COLUMNS="88", NO_COLOR="1"):
        block = f"```text\n{help_of(found['command'])}```"
    return found[0] if _without_space(found[0]) == _without_space(block) else block


def _without_space(text: str) -> str:
    return "".join(text.split())


def help_of(command: str | None) -> str:
    """What `blindllama [COMMAND] --help` says."""
    parser = make_parser()
    if command is None:
        return parser.format_help()
    groups = parser._subparsers
    assert groups is not None
    choices = groups._group_actions[0].choices
    assert isinstance(choices, dict)
    found = choices[command]
    assert isinstance(found, ArgumentParser)
    return found.format_help()


PAGES: Mapping[str, Callable[[str], str]] = {
    "README.md": cli_page,
    "docs/cli.md": cli_page,
    "docs/conformance.md": conformance_page,
    "docs/errors.md": errors_page,
    "docs/verification.md": verification_page,
}
"""Each page and what makes it anew from what it is."""


def main() -> None:
    """Write every page."""
    for name, made in PAGES.items():
        path = ROOT / name
        path.write_text(made(path.read_text("utf-8") if path.exists() else ""), "utf-8")


if __name__ == "__main__":
    main()
