"""Fixtures for all tests: the checkout, its locked inputs, and a workspace that may be spoilt."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import pytest

from supply_chain.inputs.lock import LOCK_NAME, Lock, read_lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree, cached_tree
from supply_chain.workspace import Workspace

ROOT = Path(__file__).resolve().parent.parent

# A shell that starts the tests in the background lets them ignore interrupts, and so would what
# they start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


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


@pytest.fixture(scope="session")
def lock() -> Lock:
    """The lock of this checkout."""
    return read_lock(ROOT / LOCK_NAME)


@pytest.fixture(scope="session")
def store() -> Store:
    """The store of this checkout, with whatever has been fetched; tests must not write to it."""
    return Store(Workspace.at(ROOT, os.environ).store)


@pytest.fixture(scope="session")
def tools(lock: Lock, store: Store) -> Tree:
    """The locked tools, unpacked; `./do nox` fetches them before the network goes."""
    return locked_tree("tools", lock, store)


def locked_tree(name: str, lock: Lock, store: Store) -> Tree:
    """The tree of a set of the lock; skips the test where it cannot be had."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run locked tools in a root of their own")
    packages = lock.debian(name)
    if not all(store.has(package.sha256) for package in packages):
        pytest.skip(f"needs the set {name}: run ./do invoke inputs.fetch")
    return cached_tree(packages, store, Workspace.at(ROOT, os.environ).trees)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs a software TPM, or root, where there is none, and say so."""
    swtpm = [
        name
        for name, there in (
            ("the program swtpm", shutil.which("swtpm") is not None),
            ("the module tpm2_pytss", importlib.util.find_spec("tpm2_pytss") is not None),
        )
        if not there
    ]
    azure = importlib.util.find_spec("azure") is None
    needs = {
        "azure": "requirements/azure.txt: run ./do nox -s azure" if azure else "",
        "swtpm": " and ".join(swtpm),
        "root": "" if os.geteuid() == 0 else "root",
    }
    for item in items:
        for marker, missing in needs.items():
            if missing and item.get_closest_marker(marker) is not None:
                item.add_marker(pytest.mark.skip(reason=f"needs {missing}"))
