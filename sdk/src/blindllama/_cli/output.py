"""What a command says, and where: words for people, or one JSON document for programs."""

from __future__ import annotations

import io
import json
import shutil
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from blindllama.release import VerifiedRelease
    from blindllama.report import Report

__all__ = ["Output"]

_KEPT = frozenset("\n\t")
_IN_LINES = frozenset({"chat", "proxy"})
"""Commands that say things as they happen: each line is JSON of its own, the document the last."""


class Output:
    """Standard output and standard error of one command."""

    def __init__(self, *, as_json: bool, command: str) -> None:
        """Say things as JSON, or in words."""
        self.as_json = as_json
        self._command = command
        self._indent = None if command in _IN_LINES else 1
        self._fields: dict[str, object] = {}
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                # A terminal that has no check mark gets a question mark, not a traceback.
                stream.reconfigure(errors="replace")

    def field(self, name: str, value: object) -> None:
        """Put a value into the JSON document; without JSON, forget it."""
        self._fields[name] = value

    def text(self, text: str) -> None:
        """Write words to standard output, unless it is for JSON."""
        if not self.as_json:
            _write(sys.stdout, text)

    def answer(self, text: str) -> None:
        """Write what a model said: as it is into a file, without control codes on a terminal."""
        if not self.as_json:
            _write(sys.stdout, _harmless(text) if _is_terminal(sys.stdout) else text)

    def line(self, **fields: object) -> None:
        """Write one event as a line of JSON, for commands that go on and on."""
        if self.as_json:
            _write(sys.stdout, json.dumps({"event": fields}, ensure_ascii=False) + "\n")

    def note(self, text: str) -> None:
        """Write a line about the result to standard error."""
        _write(sys.stderr, f"{text}\n")

    def prompt(self, text: str) -> None:
        """Show a person at a terminal where to type."""
        _write(sys.stderr, text)

    def complain(self, text: str) -> None:
        """Write a line about a failure to standard error."""
        self.note(f"blindllama: {text}")

    def show(self, report: Report) -> None:
        """Write the ten checks to standard output, unless it is for JSON."""
        if not self.as_json:
            _write(sys.stdout, _shown(report, sys.stdout))

    def note_report(self, report: Report) -> None:
        """Write the ten checks to standard error."""
        _write(sys.stderr, _shown(report, sys.stderr))

    def verified(self, release: VerifiedRelease, report: Report) -> None:
        """Say what was verified, and never without what that does not prove."""
        self.note(f"verified: {release.name} {release.sequence} on {release.platform.value}")
        for limit in report.limits:
            self.note(f"- {limit}")

    def finish(self, exit_code: int, error: dict[str, object] | None) -> None:
        """Write the JSON document, if there is to be one."""
        if self.as_json:
            document = {
                "version": 1,
                "command": self._command,
                "exit_code": int(exit_code),
                "error": error,
                **self._fields,
            }
            _write(sys.stdout, json.dumps(document, indent=self._indent, ensure_ascii=False) + "\n")


def _shown(report: Report, stream: TextIO | None) -> str:
    """Return a table for a terminal, plain lines for anything else."""
    if _is_terminal(stream):
        return report.render(width=shutil.get_terminal_size().columns)
    return report.text()


def _write(stream: TextIO | None, text: str) -> None:
    # A program that was started with a closed standard output has None in its place.
    if stream is not None:
        stream.write(text)
        stream.flush()


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()


def _harmless(text: str) -> str:
    return "".join(c if c.isprintable() or c in _KEPT else "�" for c in text)
