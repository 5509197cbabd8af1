"""One signer for all tests of this folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from supply_chain.attest.functionary import Functionary
from supply_chain.attest.signing import Signer, signer
from supply_chain.local_sigstore import running
from tests.simulators.github_runner import github_job

CI_VARIABLES = (
    "BUILDKITE",
    "CIRCLECI",
    "GITHUB_ACTIONS",
    "GITLAB_CI",
    "GOOGLE_SERVICE_ACCOUNT_NAME",
)


@pytest.fixture(scope="session")
def attest_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attest-state")


@pytest.fixture(scope="session")
def signing(attest_state: Path) -> Iterator[Signer]:
    with signer(attest_state) as found:
        yield found


@pytest.fixture(scope="session")
def functionary(signing: Signer) -> Functionary:
    return Functionary(identity=signing.authority.identity, issuer=signing.authority.issuer)


@pytest.fixture
def outside_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment that offers no identity token."""
    for name in CI_VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def ci_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside_ci: None) -> Iterator[Path]:
    """A CI job whose agent hands out tokens of another instance, and that instance's config."""
    folder = tmp_path / "elsewhere"
    with running(folder) as instance:
        agent = tmp_path / "bin" / "buildkite-agent"
        agent.parent.mkdir()
        token = instance.identity_token("https://ci.example/job")
        agent.write_text(f"#!/bin/sh\nprintf %s '{token}'\n")
        agent.chmod(0o755)
        monkeypatch.setenv("BUILDKITE", "true")
        monkeypatch.setenv("PATH", f"{agent.parent}:{os.environ['PATH']}")
        config = folder / "config.json"
        config.write_text(instance.trust_config_json)
        yield config


@pytest.fixture
def github(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, outside_ci: None) -> Iterator[Path]:
    """A job on GitHub, and the configuration of the instance that plays the public one."""
    with running(tmp_path / "public") as instance, github_job(instance) as variables:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        config = tmp_path / "config.json"
        config.write_text(instance.trust_config_json)
        yield config
