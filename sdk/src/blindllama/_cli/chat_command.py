"""`blindllama chat`: the ten checks, then a talk, a line at a time, from a terminal or a pipe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from blindllama._cli.connect import connect_and_tell
from blindllama._cli.output import Output
from blindllama.session import AttestedSession

__all__ = ["run"]

_PROMPT = "> "


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify the guest, then answer each line of standard input until it ends.

    The evidence is renewed within the talk as in any session: a guest that is no longer what was
    verified is not told the next line.

    Raises:
        Error: as `verify_and_connect` and the session's requests.
    """
    with connect_and_tell(options, output) as session:
        talk: list[dict[str, str]] = []
        if options.system:
            talk.append({"role": "system", "content": options.system})
        for line in _lines(output):
            talk.append({"role": "user", "content": line})
            answer = _answer(session, talk, options, output)
            talk.append({"role": "assistant", "content": answer})
            output.line(name="answer", text=answer)
            output.text("\n")
    output.field("talk", talk)


def _answer(
    session: AttestedSession,
    talk: list[dict[str, str]],
    options: argparse.Namespace,
    output: Output,
) -> str:
    pieces: list[str] = []
    for piece in session.stream_chat(
        talk, max_tokens=options.max_tokens, temperature=options.temperature
    ):
        pieces.append(piece)
        output.answer(piece)
    return "".join(pieces)


def _lines(output: Output) -> Iterator[str]:
    """Yield what was typed or piped, without blank lines; a person is shown where to type."""
    person = sys.stdin.isatty() and not output.as_json
    while True:
        if person:
            output.prompt(_PROMPT)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
