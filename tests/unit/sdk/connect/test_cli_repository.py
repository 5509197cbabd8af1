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

    def test_a_release_alone_asks_no_server(
        self, deployed: Deployed, arguments: list[str], capsys: Capture
    ) -> None:
        assert main(["verify", *arguments[1:], "--release-only", "--json"]) == ExitCode.DONE
        checks = json.loads(capsys.readouterr().out)["report"]["checks"]
        assert [check["status"] for check in checks] == ["passed"] * 5 + ["not_run"] * 5
        assert "repository" in checks[3]["detail"]
        assert deployed.server.handshakes == 0

    def test_a_release_alone_that_was_not_signed(
        self, deployed: Deployed, arguments: list[str], capsys: Capture
    ) -> None:
        (evidence,) = (deployed.folder / "index").rglob("*.evidence.json")
        data = bytearray(evidence.read_bytes())
        data[len(data) // 2] ^= 1
        evidence.write_bytes(data)
        assert main(["verify", *arguments[1:], "--release-only", "--json"]) == ExitCode.REFUSED
        document = json.loads(capsys.readouterr().out)
        assert document["error"]["code"] == "repository.tampered"
        assert document["report"]["checks"][3]["status"] == "failed"

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
            (lambda given: ["--release-only", *given[1:3]], "expected --root"),
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
