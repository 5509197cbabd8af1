"""The command line: `blindllama verify`, `blindllama ask` and `blindllama inspect`.

Exit codes: 0 all is well; 1 a check refused; 2 wrong arguments; 3 the server was not reached;
130 interrupted. Results go to standard output, everything about them to standard error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from enum import IntEnum
from importlib import import_module
from pathlib import Path

from blindllama.errors import NetworkError, UsageError, VerificationError

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
    options = _parser().parse_args(arguments)
    # What verifies takes a second to load, and `--help` needs none of it.
    command = import_module(f"blindllama._cli.{options.command}_command")
    try:
        command.run(options)
    except VerificationError as exc:
        _complain(f"refused at check {exc.step}, {exc.code.value}: {exc}")
        return ExitCode.REFUSED
    except NetworkError as exc:
        _complain(f"not reached: {exc}")
        return ExitCode.NETWORK
    except UsageError as exc:
        _complain(str(exc))
        return ExitCode.USAGE
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Whoever reads our output has seen enough; Python must not complain when it flushes.
        sys.stdout = sys.stderr
        return ExitCode.DONE
    return ExitCode.DONE


def _complain(text: str) -> None:
    sys.stderr.write(f"blindllama: {text}\n")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="blindllama",
        description="Talk to a model server only after it has proven what it runs.",
        epilog="exit codes: 0 done, 1 refused, 2 wrong arguments, 3 server not reached",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    verify = commands.add_parser("verify", help="run the ten checks and show them")
    _add_guest(verify)
    verify.add_argument("--json", action="store_true", help="show the checks as JSON")
    ask = commands.add_parser("ask", help="run the ten checks, then send a prompt")
    _add_guest(ask)
    ask.add_argument("prompt", metavar="PROMPT", help="sent to the verified guest only")
    ask.add_argument("--max-tokens", type=int, default=20, metavar="N", help="default 20")
    ask.add_argument("--temperature", type=float, default=0.0, metavar="T", help="default 0")
    ask.add_argument("--report", action="store_true", help="show the ten checks too")
    proxy = commands.add_parser("proxy", help="verify, then serve OpenAI's API to local programs")
    _add_guest(proxy)
    proxy.add_argument(
        "--listen", default="127.0.0.1:8080", metavar="ADDRESS:PORT", help="default 127.0.0.1:8080"
    )
    proxy.add_argument(
        "--allow-remote",
        action="store_true",
        help="let --listen be an address that other machines reach, over plain HTTP",
    )
    inspect = commands.add_parser("inspect", help="show what an evidence document claims")
    inspect.add_argument("file", type=Path, metavar="FILE", help="answer of POST /attestation")
    return parser


def _add_guest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="https://HOST[:PORT] of the guest")
    parser.add_argument(
        "--release", type=Path, required=True, metavar="FILE", help="the release's evidence.json"
    )
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="what you trust, policy.toml"
    )
    parser.add_argument(
        "--memory", type=Path, metavar="FILE", help="remember the newest release, refuse older"
    )
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="per exchange; default 30"
    )
