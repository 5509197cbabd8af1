"""The completion that the wheel brings, asked by bash itself."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.completion import PLACE, completion


def test_it_is_that_of_the_parser() -> None:
    assert PLACE.read_text("utf-8") == completion(), "run: python -m tests.docs.completion"


def completed(folder: Path, *words: str) -> set[str]:
    """What bash would offer for the last word."""
    line = " ".join(shlex.quote(word) for word in words)
    program = (
        f"source {shlex.quote(str(PLACE))}; COMP_WORDS=(blindllama {line}); "
        f"COMP_CWORD={len(words)}; _blindllama; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    done = subprocess.run(
        ["bash", "--norc", "-c", program],
        cwd=folder,
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    assert done.stderr == ""
    return set(done.stdout.split())


@pytest.mark.skipif(shutil.which("bash") is None, reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["ver"], {"verify"}),
        ([""], {"verify", "report", "ask", "chat", "proxy", "inspect", "explain", "--help"}),
        (["verify", "--rel"], {"--release", "--release-only"}),
        (["verify", "https://h", "--poli"], {"--policy"}),
        (["verify", "--policy", "pol"], {"policy.toml"}),
        (["report", "--output", ""], {"policy.toml", "evidence.json"}),
        (["inspect", "evi"], {"evidence.json"}),
        (["ask", "--max"], {"--max-tokens"}),
        (["nothing", ""], set()),
    ],
)
def test_what_bash_offers(tmp_path: Path, words: list[str], offered: set[str]) -> None:
    for name in ("policy.toml", "evidence.json"):
        (tmp_path / name).touch()
    assert completed(tmp_path, *words) == offered
