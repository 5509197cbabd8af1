"""Progress for people: a step that takes longer than two seconds shows its time."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Protocol

from rich.console import Console

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

QUIET_S = 2.0
"""A step shorter than this is not worth a line."""
HEARTBEAT_S = 30.0
"""Without a terminal, how often a step that goes on says so."""


class Progress(Protocol):
    """Where a build tells what it is doing."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """Around a piece of work: says what goes on and how long it took."""

    def note(self, text: str) -> None:
        """One line that a person should read."""


class SilentProgress:
    """Progress that nobody watches."""

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Do the work and say nothing."""
        del title
        yield

    def note(self, text: str) -> None:
        """Say nothing."""
        del text


class ConsoleProgress:
    """Progress on a console: live seconds on a terminal, plain lines elsewhere."""

    def __init__(self, console: Console | None = None, *, quiet_s: float = QUIET_S) -> None:
        """Write to this console, or to standard error, about steps longer than `quiet_s`."""
        self._console = console or Console(stderr=True, soft_wrap=True)
        self._quiet_s = quiet_s
        self._depth = 0

    @contextlib.contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Around a piece of work; steps may be nested."""
        indent = "  " * self._depth
        self._depth += 1
        started = time.monotonic()
        done = threading.Event()
        watcher = threading.Thread(
            target=self._watch, args=(indent + title, started, done), daemon=True
        )
        watcher.start()
        outcome = "failed"
        try:
            yield
            outcome = "done"
        finally:
            done.set()
            watcher.join()
            self._depth -= 1
            elapsed = time.monotonic() - started
            if elapsed >= self._quiet_s:
                self._print(f"{indent}{title}: {outcome} in {elapsed:.0f} s")

    def note(self, text: str) -> None:
        """One line, indented like the step that it belongs to."""
        self._print("  " * self._depth + text)

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False)

    def _watch(self, title: str, started: float, done: threading.Event) -> None:
        if done.wait(self._quiet_s):
            return
        if not self._console.is_terminal:
            self._print(f"{title} …")
            while not done.wait(HEARTBEAT_S):
                self._print(f"{title} … {time.monotonic() - started:.0f} s")
            return
        # One line that is written over; no rich Live, since steps nest and Live does not.
        while not done.wait(0.5):
            self._console.file.write(f"\r{title} … {time.monotonic() - started:.0f} s\x1b[K")
            self._console.file.flush()
        self._console.file.write("\r\x1b[K")
        self._console.file.flush()
