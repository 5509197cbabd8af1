"""`blindllama ask`: the ten checks, then a prompt, and the answer as it comes."""

from __future__ import annotations

import argparse
import sys

from blindllama._cli.connect import connect, show
from blindllama._platform.registry import platform_named
from blindllama.errors import VerificationError

__all__ = ["run"]


def run(options: argparse.Namespace) -> None:
    """Verify the guest, send it the prompt and write its answer.

    Raises:
        Error: as `verify_and_connect` and the session's requests.
    """
    try:
        session = connect(options)
    except VerificationError as exc:
        if options.report and exc.report is not None:
            show(exc.report, sys.stderr)
        raise
    with session:
        if options.report:
            show(session.report, sys.stderr)
        release = session.release
        sys.stderr.write(
            f"verified: {release.name} {release.sequence} on {release.platform.value}\n"
            f"({platform_named(release.platform).limits})\n"
        )
        pieces = session.stream_completion(
            options.prompt, max_tokens=options.max_tokens, temperature=options.temperature
        )
        for piece in pieces:
            sys.stdout.write(piece)
            sys.stdout.flush()
        sys.stdout.write("\n")
