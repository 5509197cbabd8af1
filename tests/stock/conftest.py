"""One instance for all tests of this folder, and the stock clients that ask it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supply_chain.attest.statement import Statement, resources
from supply_chain.digest import sha256_bytes
from supply_chain.local_sigstore import LocalSigstore, running
from supply_chain.workspace import Workspace
from tests.simulators.cosign import cosign

ARTIFACT = b"the artifact\n"
PROVENANCE = Statement(
    subject=resources({"artifact": sha256_bytes(ARTIFACT)}),
    predicate_type="https://slsa.dev/provenance/v1",
    predicate={
        "buildDefinition": {
            "buildType": "https://blindllama.dev/test/v1",
            "externalParameters": {},
            "internalParameters": {},
            "resolvedDependencies": [],
        },
        "runDetails": {"builder": {"id": "https://blindllama.dev/test/builder"}},
    },
)


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("stock")


@pytest.fixture(scope="session")
def instance(state: Path) -> Iterator[LocalSigstore]:
    with running(state) as found:
        yield found


@pytest.fixture(scope="session")
def second(state: Path) -> Iterator[LocalSigstore]:
    """The same instance, whose clients are told to use version 2 of the log."""
    with running(state, log_version=2) as found:
        yield found


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    path = tmp_path / "artifact"
    path.write_bytes(ARTIFACT)
    return path


@pytest.fixture(scope="session")
def cosign_at(checkout: Path) -> Callable[[str], Path]:
    """The program of a major version; skips the test where it was not fetched."""

    def found(version: str) -> Path:
        path = cosign(version, Workspace.at(checkout, os.environ).cache)
        if not path.exists():
            pytest.skip(f"needs cosign {version}: python -m tests.simulators.cosign fetches it")
        return path

    return found
