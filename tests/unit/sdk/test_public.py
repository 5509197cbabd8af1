from __future__ import annotations

import subprocess
import sys

import pytest

import blindllama

HEAVY = (
    "sigstore",
    "in_toto",
    "tuf",
    "securesystemslib",
    "cryptography",
    "requests",
    "pydantic",
    "rich",
)


def test_every_public_name_is_there() -> None:
    assert dir(blindllama) == sorted(blindllama.__all__)
    for name in blindllama.__all__:
        assert getattr(blindllama, name).__name__ == name


def test_the_public_surface_is_this() -> None:
    errors = {name for name in blindllama.__all__ if name.endswith("Error")} | {"Code"}
    assert set(blindllama.__all__) - errors == {
        "AttestedSession",
        "Policy",
        "Report",
        "Repository",
        "VerifiedRelease",
        "VerifiedSummary",
        "verify_and_connect",
        "verify_evidence",
        "verify_release",
        "verify_summary",
    }


def test_other_names_are_not() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        blindllama.no_such_name  # noqa: B018 - reading it is the test


def test_import_is_cheap() -> None:
    program = f"import blindllama, sys; print([m for m in {HEAVY} if m in sys.modules])"
    argv = [sys.executable, "-c", program]
    done = subprocess.run(
        argv, capture_output=True, text=True, check=True, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert done.stdout.strip() == "[]"
