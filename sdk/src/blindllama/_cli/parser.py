"""The commands and their options. Importing this is cheap: `--help` loads nothing that verifies."""

from __future__ import annotations

import argparse
from pathlib import Path

__all__ = ["make_parser"]

_EXIT_CODES = """\
exit codes:
  0    done; for verify and report: all checks passed
  1    a check refused, or a file is not what it must be
  2    wrong arguments
  3    the server was not reached, or went away
  130  interrupted
"""


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="blindllama",
        description="Talk to a model server only after it has proven what it runs.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_verify(commands)
    _add_report(commands)
    _add_ask(commands)
    _add_chat(commands)
    _add_proxy(commands)
    _add_inspect(commands)
    _add_explain(commands)
    return parser


Commands = argparse._SubParsersAction  # noqa: SLF001 - argparse has no public name for it


def _add(
    commands: Commands[argparse.ArgumentParser], name: str, words: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(
        name,
        help=words,
        description=f"{words[:1].upper()}{words[1:]}.",
        epilog=_EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--json", action="store_true", help="write JSON to standard output")
    return command


def _add_verify(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _add(commands, "verify", "run the ten checks and show them")
    _add_guest(command, url_optional=True)
    command.add_argument(
        "--release-only",
        action="store_true",
        help="checks 1 to 5 only: is the release genuine? No server is asked",
    )


def _add_report(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _add(commands, "report", "run the ten checks and write their report to a file")
    _add_guest(command)
    command.add_argument(
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="NAME.html, NAME.json or NAME.txt; written whether the checks pass or not",
    )
    command.add_argument(
        "--bill",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="a bill of materials of the release, for the page to list; may be repeated",
    )


def _add_ask(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _add(commands, "ask", "run the ten checks, then send a prompt")
    _add_guest(command)
    command.add_argument("prompt", metavar="PROMPT", help="sent to the verified guest only")
    _add_model(command, max_tokens=20)


def _add_chat(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _add(commands, "chat", "run the ten checks, then talk, line by line")
    _add_guest(command)
    command.add_argument("--system", metavar="TEXT", help="how the model should behave")
    _add_model(command, max_tokens=256)


def _add_proxy(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _add(commands, "proxy", "verify, then serve OpenAI's API to local programs")
    _add_guest(command)
    command.add_argument(
        "--listen", default="127.0.0.1:8080", metavar="ADDRESS:PORT", help="default 127.0.0.1:8080"
    )
    command.add_argument(
        "--allow-remote",
        action="store_true",
        help="let --listen be an address that other machines reach, over plain HTTP",
    )
    command.add_argument("--report", action="store_true", help="show the ten checks too")


def _add_inspect(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _add(commands, "inspect", "show what a file claims, without believing any of it")
    command.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="a guest's evidence, a release's evidence.json, a Sigstore bundle of a statement, "
        "or a quote (TPMS_ATTEST)",
    )
    command.add_argument(
        "--signature", type=Path, metavar="FILE", help="the quote's TPMT_SIGNATURE"
    )


def _add_explain(commands: Commands[argparse.ArgumentParser]) -> None:
    command = _add(commands, "explain", "say why two measurements differ, believing neither")
    for name, words in (("expected", "what should be"), ("got", "what is")):
        command.add_argument(
            name,
            type=Path,
            metavar=name.upper(),
            help=f"{words}: a release's evidence.json or folder, measurements.json, "
            "or a guest's evidence",
        )
    _add_known(command)
    command.add_argument(
        "--platform", metavar="NAME", help="whose registers; default: the first that both have"
    )


def _add_model(parser: argparse.ArgumentParser, *, max_tokens: int) -> None:
    parser.add_argument(
        "--max-tokens", type=int, default=max_tokens, metavar="N", help=f"default {max_tokens}"
    )
    parser.add_argument("--temperature", type=float, default=0.0, metavar="T", help="default 0")
    parser.add_argument("--report", action="store_true", help="show the ten checks too")


def _add_guest(parser: argparse.ArgumentParser, *, url_optional: bool = False) -> None:
    parser.add_argument(
        "url",
        metavar="URL",
        nargs="?" if url_optional else None,
        help="https://HOST[:PORT] of the guest",
    )
    parser.add_argument(
        "--address", metavar="IP", help="connect here, whatever the name in URL resolves to"
    )
    parser.add_argument(
        "--release", type=Path, metavar="FILE", help="the release's evidence.json, or its folder"
    )
    parser.add_argument("--policy", type=Path, metavar="FILE", help="what you trust, policy.toml")
    parser.add_argument(
        "--repository",
        metavar="PLACE",
        help="URL or folder of a release repository, in place of --release; "
        "without --policy, its own policy is used",
    )
    parser.add_argument(
        "--root",
        type=Path,
        metavar="FILE",
        help="the repository's root that you trust, 1.root.json",
    )
    parser.add_argument(
        "--repository-memory",
        type=Path,
        metavar="FOLDER",
        help="remember the repository's newest state, refuse older",
    )
    parser.add_argument(
        "--memory", type=Path, metavar="FILE", help="remember the newest release, refuse older"
    )
    _add_known(parser)
    parser.add_argument(
        "--timeout", type=float, default=30.0, metavar="SECONDS", help="per exchange; default 30"
    )


def _add_known(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--known",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="evidence.json of another release, to recognise; may be repeated",
    )
