from __future__ import annotations

import io
import re
import time

import pytest
from rich.console import Console

from supply_chain.progress import ConsoleProgress, SilentProgress


def console(*, terminal: bool) -> tuple[ConsoleProgress, io.StringIO]:
    text = io.StringIO()
    return ConsoleProgress(
        Console(file=text, force_terminal=terminal, width=100), quiet_s=0.05
    ), text


def test_a_short_step_says_nothing() -> None:
    progress, text = console(terminal=False)
    with progress.step("quick"):
        pass
    assert text.getvalue() == ""


def test_a_long_step_says_that_it_began_and_how_long_it_took() -> None:
    progress, text = console(terminal=False)
    with progress.step("slow [bold]"):
        time.sleep(0.15)
        progress.note("inside")
    said = re.sub(r"\d+ s", "N s", text.getvalue())
    assert said == "slow [bold] …\n  inside\nslow [bold]: done in N s\n"


def test_a_step_that_fails_says_so() -> None:
    progress, text = console(terminal=False)
    with pytest.raises(ZeroDivisionError), progress.step("slow"):
        time.sleep(0.15)
        raise ZeroDivisionError
    assert re.search(r"\nslow: failed in \d+ s\n$", text.getvalue())


def test_steps_within_steps_are_indented() -> None:
    progress, text = console(terminal=False)
    with progress.step("outer"), progress.step("inner"):
        time.sleep(0.15)
    assert re.search(r"\n  inner: done in \d+ s\nouter: done in \d+ s\n$", text.getvalue())


def test_a_terminal_shows_the_seconds_on_one_line() -> None:
    progress, text = console(terminal=True)
    with progress.step("slow"):
        time.sleep(0.7)
    assert "\rslow … " in text.getvalue()
    assert re.search(r"\r\x1b\[Kslow: done in \d+ s\n$", text.getvalue())


def test_silence() -> None:
    progress = SilentProgress()
    with progress.step("anything"):
        progress.note("more")
