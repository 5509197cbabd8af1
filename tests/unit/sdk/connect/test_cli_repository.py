"""The command line with a repository in place of a release."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from blindllama._cli import ExitCode, main
from tests.simulators.release_repository import publisher_of
from tests.unit.sdk.connect.conftest import Deployed

Capture = pytest.CaptureFixture[str]


class TestRepository:
    """A release from a repository: its root is all that the caller trusts."""

    @pytest.fixture
    def arguments(self, deployed: Deployed) -> list[str]:
        publisher = publisher_of(deployed.folder / "index", deployed.release)
        return [
            deployed.server.url,
            *("--repository", str(publisher.folder)),
            *("--root", str(publisher.trusted_root)),
            *("--repository-memory", str(deployed.folder / "memory")),
        ]

    def test_it_gives_release_and_policy(
        self, deployed: Deployed, arguments: list[str], capsys: Capture
    ) -> None:
        assert main(["verify", *arguments, "--json"]) == ExitCode.DONE
        document = json.loads(capsys.readouterr().out)
        assert "repository" in document["report"]["checks"][3]["detail"]
        assert (deployed.folder / "memory").is_dir()

    def test_the_callers_policy_goes_before_its_own(
        self, deployed: Deployed, arguments: list[str], capsys: Capture
    ) -> None:
        policy = ["--policy", str(deployed.folder / "missing.toml")]
        assert main(["verify", *arguments, *policy]) == ExitCode.REFUSED
        assert "policy.unreadable" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("change", "told"),
        [
            (lambda given: given[:1], "expected --release and --policy, or --repository"),
            (lambda given: given[:3], "expected --root"),
            (lambda given: [*given, "--release", "x"], "no --release"),
            (
                lambda given: [given[0], *given[3:], "--release", "x", "--policy", "y"],
                "beside --repository alone",
            ),
            (lambda given: [*given[1:], "--release-only"], "expected --release and --policy"),
        ],
    )
    def test_options_that_do_not_go_together(
        self,
        arguments: list[str],
        capsys: Capture,
        change: Callable[[list[str]], list[str]],
        told: str,
    ) -> None:
        assert main(["verify", *change(arguments)]) == ExitCode.USAGE
        assert told in capsys.readouterr().err
