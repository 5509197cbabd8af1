"""Commands as pages and workflows give them, asked of the programs that would take them.

Nothing is run: a command passes when the program knows its name and every option of it.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
from pathlib import Path

from invoke import Program
from invoke.exceptions import ParseError
from invoke.parser import Parser

import noxfile
import tasks
from blindllama._cli.parser import make_parser

_CONTINUED = re.compile(r"\\\n\s*")
_COMMAND = re.compile(
    # Ours anywhere; the client's own name, which is the project's too, at the start of a code line.
    r"(?:(?:^|[\s`(;&|])(?=\./do (?:invoke|nox|blindllama)\b)|^ {4,}(?=blindllama [a-z-]))"
    r"(?P<command>[^\n`]*)",
    re.MULTILINE,
)
_PLACEHOLDER = re.compile(r"…|\.\.\.")


class UnknownCommandError(Exception):
    """No program takes this command."""


def commands_in(text: str) -> list[list[str]]:
    """The argument lists of our commands in a page or in a step of a workflow.

    Comments behind them, redirections and what a pipe goes on with are left out, and so are lines
    that only sketch a command (`…`).
    """
    found = []
    for match in _COMMAND.finditer(_CONTINUED.sub(" ", text)):
        line = match["command"].partition("  #")[0]
        if _PLACEHOLDER.search(line):
            continue
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|;&<>()")
        lexer.whitespace_split = True
        words: list[str] = []
        with contextlib.suppress(ValueError):  # prose with an apostrophe
            for word in lexer:
                if word[0] in "|;&<>()":
                    break
                words.append(word)
            found.append(words)
    return found


def check(argv: list[str]) -> None:
    """Nothing, when a program of ours takes the command.

    Raises:
        UnknownCommandError: It does not.
    """
    words = argv[1:] if argv[0] == "./do" else argv
    program, arguments = words[0], words[1:]
    {"invoke": _check_invoke, "nox": _check_nox, "blindllama": _check_client}[program](arguments)


def _check_invoke(arguments: list[str]) -> None:
    core = Program(namespace=tasks.ns).initial_context
    try:
        parsed = Parser(contexts=tasks.ns.to_contexts(), initial=core).parse_argv(arguments)
    except ParseError as exc:
        raise UnknownCommandError(f"invoke {shlex.join(arguments)}: {exc}") from exc
    if parsed.unparsed:
        raise UnknownCommandError(f"invoke {shlex.join(arguments)}: {parsed.unparsed}")


def _check_nox(arguments: list[str]) -> None:
    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if ours and ours[0] != "-s":
        raise UnknownCommandError(f"nox {shlex.join(arguments)}: expected -s SESSION …")
    for name in ours[1:]:
        if not hasattr(getattr(noxfile, name, None), "should_warn"):
            raise UnknownCommandError(f"nox -s {name}: there is no such session")


def _check_client(arguments: list[str]) -> None:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said):
            make_parser().parse_args(arguments)
    except SystemExit as exc:
        if exc.code:
            raise UnknownCommandError(
                f"blindllama {shlex.join(arguments)}: {said.getvalue()}"
            ) from exc


def pages(root: Path) -> list[Path]:
    """Every page that people read."""
    return [*sorted(root.glob("*.md")), *sorted((root / "docs").rglob("*.md"))]
