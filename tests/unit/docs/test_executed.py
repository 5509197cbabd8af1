"""Every command that a page gives is executed by a test, or it says why not."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

import tasks
from tests.docs.commands import check, commands_in, pages
from tests.docs.executed import ELSEWHERE, HERE, NOBODY

ROOT = Path(__file__).resolve().parents[3]
DOCUMENTED = sorted(
    {shlex.join(words) for page in pages(ROOT) for words in commands_in(page.read_text("utf-8"))}
)


def known_as(command: str) -> str | None:
    """The entry under which a command is known; the longest that it begins with."""
    # A place is a place, whatever it is called.
    here = {" ".join(one.split()[:3]) for one in HERE}
    entries = {*here, *ELSEWHERE, *NOBODY}
    found = [entry for entry in entries if command == entry or command.startswith(entry)]
    return max(found, key=len, default=None)


@pytest.mark.parametrize("command", DOCUMENTED)
def test_a_command_of_a_page(command: str) -> None:
    assert known_as(command) is not None, "add it to tests/docs/executed.py"


@pytest.mark.parametrize("task", sorted(tasks.ns.task_names))
def test_every_task_is_run_by_somebody(task: str) -> None:
    assert known_as(f"./do invoke {task}") is not None, "add it to tests/docs/executed.py"


@pytest.mark.parametrize("place", sorted(set(ELSEWHERE.values())))
def test_the_tests_that_are_named_exist(place: str) -> None:
    path, _, name = place.partition("::")
    source = (ROOT / path).read_text("utf-8")
    assert name == "" or f"def {name}(" in source


@pytest.mark.parametrize("command", [*HERE, *ELSEWHERE, *NOBODY])
def test_no_entry_is_about_what_is_gone(command: str) -> None:
    words = shlex.split(command)
    if command in HERE:
        check(words)
    else:
        # The rest may stop in the middle: a family, or a command without what it must be given.
        assert words[0] == "blindllama" or words[1] in {"invoke", "nox", "blindllama"}
        if words[1] == "invoke":
            assert any(name.startswith(words[2]) for name in tasks.ns.task_names)
