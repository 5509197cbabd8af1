"""Fixtures for all tests: where the checkout is, and a workspace that a test may spoil."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path

import pytest

from supply_chain.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The root of the repository."""
    return ROOT


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    """An empty workspace that belongs to this test."""
    root = tmp_path / "checkout"
    root.mkdir()
    return Workspace.at(root, {})


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a software TPM where there is none, and say so."""
    missing = [
        name
        for name, there in (
            ("the program swtpm", shutil.which("swtpm") is not None),
            ("the module tpm2_pytss", importlib.util.find_spec("tpm2_pytss") is not None),
        )
        if not there
    ]
    if not missing:
        return
    skip = pytest.mark.skip(reason=f"needs {' and '.join(missing)}")
    for item in items:
        if item.get_closest_marker("swtpm") is not None:
            item.add_marker(skip)
