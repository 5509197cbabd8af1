"""`blindllama ask`: the ten checks, then a prompt, and the answer as it comes."""

from __future__ import annotations

import argparse

from blindllama._cli.connect import connect_and_tell
from blindllama._cli.output import Output

__all__ = ["run"]


def run(options: argparse.Namespace, output: Output) -> None:
    """Verify the guest, send it the prompt and write its answer.

    Raises:
        Error: as `verify_and_connect` and the session's requests.
    """
    with connect_and_tell(options, output) as session:
        pieces: list[str] = []
        for piece in session.stream_completion(
            options.prompt, max_tokens=options.max_tokens, temperature=options.temperature
        ):
            pieces.append(piece)
            output.answer(piece)
    output.field("answer", "".join(pieces))
    output.text("\n")
