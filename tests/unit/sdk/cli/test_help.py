"""`--help` is cheap: it loads nothing that verifies."""

from __future__ import annotations

import subprocess
import sys

import pytest

from blindllama._cli.parser import make_parser

HEAVY = ("requests", "cryptography", "pydantic", "sigstore", "in_toto", "rich", "tuf", "openai")


def commands() -> list[str]:
    actions = make_parser()._subparsers
    assert actions is not None
    choices = actions._group_actions[0].choices
    assert choices is not None
    return list(choices)


@pytest.mark.parametrize("arguments", [[], *([name] for name in commands())])
def test_help_loads_nothing_that_verifies(arguments: list[str]) -> None:
    program = (
        "import sys; from blindllama._cli import main\n"
        f"try: main({[*arguments, '--help']})\n"
        f"finally: print([m for m in {HEAVY} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "exit codes:\n  0    done" in done.stdout
    assert done.stdout.strip().endswith("[]")
