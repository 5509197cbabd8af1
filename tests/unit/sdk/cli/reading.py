"""The command line, asked about files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from blindllama._cli import ExitCode, main

Capture = pytest.CaptureFixture[str]


def run(capsys: Capture, *arguments: str) -> dict[str, Any]:
    assert main([*arguments, "--json"]) == ExitCode.DONE
    loaded: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert loaded["verified"] is False
    return loaded


def refused(capsys: Capture, *arguments: str) -> dict[str, Any]:
    main([*arguments, "--json"])
    loaded: dict[str, Any] = json.loads(capsys.readouterr().out)
    error: dict[str, Any] = loaded["error"]
    return error


def written(path: Path, content: bytes) -> str:
    path.write_bytes(content)
    return str(path)
