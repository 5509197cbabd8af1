"""The command line: `blindllama COMMAND …`; docs/cli.md describes it.

Results go to standard output, everything about them to standard error. With `--json`, standard
output is JSON and nothing else, whether the command succeeds or not.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from enum import IntEnum
from importlib import import_module

from blindllama._cli.output import Output
from blindllama._cli.parser import make_parser
from blindllama.errors import Error, NetworkError, UsageError, VerificationError

__all__ = ["ExitCode", "main"]


class ExitCode(IntEnum):
    """How the command ended; stable across versions."""

    DONE = 0
    REFUSED = 1
    USAGE = 2
    NETWORK = 3
    INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code.

    Raises:
        SystemExit: by argparse, for wrong arguments (2) and `--help` (0).
    """
    options = make_parser().parse_args(arguments)
    output = Output(as_json=options.json, command=options.command)
    try:
        return _run(options, output)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        _forget_stdout()
        return ExitCode.DONE


def _run(options: argparse.Namespace, output: Output) -> ExitCode:
    code = ExitCode.DONE
    error: Error | None = None
    try:
        # What verifies takes a second to load, and `--help` needs none of it.
        import_module(f"blindllama._cli.{options.command}_command").run(options, output)
    except VerificationError as exc:
        code, error = ExitCode.REFUSED, exc
        output.complain(f"refused at check {exc.step}, {exc.code.value}: {exc}")
        output.complain(f"what to do: {exc.advice}")
    except NetworkError as exc:
        code, error = ExitCode.NETWORK, exc
        output.complain(f"not reached: {exc}")
    except UsageError as exc:
        code, error = ExitCode.USAGE, exc
        output.complain(str(exc))
    output.finish(code, _error_json(error))
    return code


def _error_json(error: Error | None) -> dict[str, object] | None:
    match error:
        case None:
            return None
        case VerificationError():
            return {
                "kind": "refused",
                "code": error.code.value,
                "step": error.step,
                "message": str(error),
                "advice": error.advice,
            }
        case NetworkError():
            return {"kind": "network", "message": str(error)}
        case _:
            return {"kind": "usage", "message": str(error)}


def _forget_stdout() -> None:
    """Whoever read our output has seen enough; Python must not complain when it flushes."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError, AttributeError):
        sys.stdout = sys.stderr  # it was no file: a test's, or a program's that calls us
