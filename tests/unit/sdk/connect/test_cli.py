"""The commands that talk to a guest: what they say, where, and how they end."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from blindllama._cli import ExitCode, main
from tests.simulators.attested_server import WORDS
from tests.unit.sdk.connect.conftest import Deployed

Capture = pytest.CaptureFixture[str]


def test_verify_shows_the_ten_checks(deployed: Deployed, capsys: Capture) -> None:
    assert main(["verify", *deployed.arguments]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert out.count("✔") == 10
    assert "simulates the TPM" in out
    assert err == ""
    assert deployed.server.application_bytes == 0


def test_verify_at_an_address(deployed: Deployed, capsys: Capture) -> None:
    named = deployed.server.url.replace("127.0.0.1", "guest.invalid")
    arguments = [named, *deployed.arguments[1:], "--address"]
    assert main(["verify", *arguments, "127.0.0.1"]) == ExitCode.DONE
    assert f"peer: {named.removeprefix('https://')}" in capsys.readouterr().out
    assert main(["verify", *arguments, "guest.example"]) == ExitCode.USAGE
    assert "expected an IP address without a port" in capsys.readouterr().err


def test_verify_as_json(deployed: Deployed, capsys: Capture) -> None:
    assert main(["verify", *deployed.arguments, "--json"]) == ExitCode.DONE
    document = json.loads(capsys.readouterr().out)
    assert document["report"]["passed"] is True
    assert document["error"] is None
    assert document["exit_code"] == 0


def test_verify_shows_the_checks_of_a_refusal(deployed: Deployed, capsys: Capture) -> None:
    deployed.guest.quoter.extend(11, bytes(32))
    assert main(["verify", *deployed.arguments, "--json"]) == ExitCode.REFUSED
    out, err = capsys.readouterr()
    document = json.loads(out)
    assert document["report"]["checks"][8]["detail"]["code"] == "measurement.mismatch"
    assert document["error"]["code"] == "measurement.mismatch"
    assert document["error"]["step"] == 9
    assert document["exit_code"] == 1
    assert err.startswith("blindllama: refused at check 9, measurement.mismatch: PCR 11")
    assert "what to do: Do not use this server" in err
    assert deployed.server.application_bytes == 0


def test_verify_of_a_release_asks_no_server(deployed: Deployed, capsys: Capture) -> None:
    arguments = [*deployed.arguments[1:], "--release-only"]
    assert main(["verify", *arguments]) == ExitCode.DONE
    out = capsys.readouterr().out
    assert out.count("✔") == 5
    assert "not finished: 5 of 10 checks passed" in out
    assert "verified" not in out.replace("nothing of it was verified", "")
    assert deployed.server.handshakes == 0


def test_verify_of_a_release_refuses_as_ever(deployed: Deployed, capsys: Capture) -> None:
    (deployed.folder / "policy.toml").write_text("version = 1")
    arguments = [*deployed.arguments[1:], "--release-only", "--json"]
    assert main(["verify", *arguments]) == ExitCode.REFUSED
    document = json.loads(capsys.readouterr().out)
    assert document["error"]["code"] == "policy.empty"
    assert document["report"]["checks"][0]["status"] == "failed"


def test_a_release_that_cannot_be_read(deployed: Deployed, capsys: Capture) -> None:
    policy = deployed.arguments[-2:]
    missing = ["--release", str(deployed.folder / "missing.json"), *policy, "--release-only"]
    assert main(["verify", *missing]) == ExitCode.USAGE
    assert "missing.json" in capsys.readouterr().err


@pytest.mark.parametrize("extra", [["--release-only"], ["--release-only", "--memory", "m"]])
def test_a_release_alone_has_no_server(
    deployed: Deployed, capsys: Capture, extra: list[str]
) -> None:
    assert main(["verify", *deployed.arguments, *extra]) == ExitCode.USAGE
    assert "no guest is asked" in capsys.readouterr().err


def test_verify_needs_a_server_or_says_that_it_needs_none(
    deployed: Deployed, capsys: Capture
) -> None:
    assert main(["verify", *deployed.arguments[1:]]) == ExitCode.USAGE
    assert "--release-only" in capsys.readouterr().err


def test_folders_stand_for_the_files_in_them(deployed: Deployed, capsys: Capture) -> None:
    folder = str(deployed.folder)
    arguments = [deployed.server.url, "--release", folder, "--policy", folder]
    assert main(["verify", *arguments]) == ExitCode.DONE
    capsys.readouterr()


def test_ask_streams_the_answer(deployed: Deployed, capsys: Capture) -> None:
    assert main(["ask", *deployed.arguments, "The capital of France is"]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert out == "".join(WORDS) + "\n"
    assert "verified: simulated-release 2 on qemu-swtpm" in err
    assert "not that they are free of faults" in err
    assert "proves nothing against whoever runs the host" in err


def test_ask_as_json(deployed: Deployed, capsys: Capture) -> None:
    assert main(["ask", *deployed.arguments, "--json", "Once"]) == ExitCode.DONE
    document = json.loads(capsys.readouterr().out)
    assert document["answer"] == "".join(WORDS)
    assert document["report"]["passed"] is True


def test_ask_with_its_report(deployed: Deployed, capsys: Capture) -> None:
    assert main(["ask", *deployed.arguments, "--report", "Once"]) == ExitCode.DONE
    assert capsys.readouterr().err.count("✔") == 10


def test_ask_says_nothing_to_a_guest_that_is_refused(deployed: Deployed, capsys: Capture) -> None:
    deployed.guest.quoter.extend(11, bytes(32))
    assert main(["ask", *deployed.arguments, "--report", "a secret"]) == ExitCode.REFUSED
    out, err = capsys.readouterr()
    assert out == ""
    assert "✘" in err
    assert "secret" not in err
    assert deployed.server.application_bytes == 0


def test_t5_an_answer_does_not_steer_a_terminal(
    deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tests.simulators.attested_server.WORDS", ("a\x1b[2J\n", "\u202eb"))
    assert main(["ask", *deployed.arguments, "Once"]) == ExitCode.DONE
    assert capsys.readouterr().out == "a\x1b[2J\n\u202eb\n"  # a pipe gets the model's own bytes
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["ask", *deployed.arguments, "Once"]) == ExitCode.DONE
    assert capsys.readouterr().out == "a�[2J\n�b\n"


class TestReport:
    def test_it_is_written_in_each_form(self, deployed: Deployed, capsys: Capture) -> None:
        for name, beginning in (
            ("r.html", "<!DOCTYPE html>"),
            ("r.json", "{\n"),
            ("r.txt", "✔  1 Policy"),
        ):
            path = deployed.folder / name
            assert main(["report", *deployed.arguments, "--output", str(path)]) == ExitCode.DONE
            assert path.read_text("utf-8").startswith(beginning)
            assert "verified: all ten checks passed" in capsys.readouterr().err

    def test_it_is_written_of_a_refusal_too(self, deployed: Deployed, capsys: Capture) -> None:
        deployed.guest.quoter.extend(11, bytes(32))
        path = deployed.folder / "r.json"
        arguments = ["report", *deployed.arguments, "--output", str(path), "--json"]
        assert main(arguments) == ExitCode.REFUSED
        document = json.loads(capsys.readouterr().out)
        assert document["report"] == json.loads(path.read_text("utf-8"))

    @pytest.mark.parametrize("name", ["report", "r.pdf", "none/r.html"])
    def test_a_file_that_cannot_be_written(
        self, deployed: Deployed, capsys: Capture, name: str
    ) -> None:
        path = str(deployed.folder / name)
        assert main(["report", *deployed.arguments, "--output", path]) == ExitCode.USAGE
        assert "--output" in capsys.readouterr().err


def test_a_memory_is_kept(deployed: Deployed, capsys: Capture) -> None:
    memory = deployed.folder / "memory.json"
    assert main(["verify", *deployed.arguments, "--memory", str(memory)]) == ExitCode.DONE
    assert list(json.loads(memory.read_bytes())["sequences"].values()) == [2]
    capsys.readouterr()


def test_a_known_release_is_recognised(deployed: Deployed, capsys: Capture) -> None:
    deployed.run_older()
    path = deployed.folder / "older.json"
    path.write_bytes(deployed.older.evidence)
    assert main(["verify", *deployed.arguments, "--known", str(path)]) == ExitCode.REFUSED
    assert "it is that of release 1, you asked for release 2" in capsys.readouterr().err


def shape(value: object) -> object:
    """A document without its values: keys, and the types of what is under them."""
    if isinstance(value, dict):
        return {key: shape(child) for key, child in sorted(value.items())}
    if isinstance(value, list):
        return [shape(child) for child in value[:1]]
    return type(value).__name__


def test_the_json_of_every_command_is_stable(
    deployed: Deployed, checkout: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program somewhere reads it: adding is free, changing is not."""
    monkeypatch.setattr("sys.stdin", io.StringIO("Hi\n"))
    older = deployed.folder / "older.json"
    older.write_bytes(deployed.older.evidence)
    guest = str(checkout / "tests/golden/evidence-v1.json")
    release = str(deployed.folder / "evidence.json")
    commands = {
        "verify": deployed.arguments,
        "report": [*deployed.arguments, "--output", str(deployed.folder / "r.html")],
        "ask": [*deployed.arguments, "Once"],
        "chat": deployed.arguments,
        "inspect": [guest],
        "explain": [str(older), release],
        "refused": [*deployed.arguments[:-1], str(deployed.folder / "missing.toml")],
    }
    seen = {}
    for name, arguments in commands.items():
        main(["verify" if name == "refused" else name, *arguments, "--json"])
        out = capsys.readouterr().out
        document = json.loads(out.splitlines()[-1] if name == "chat" else out)
        for check in document.get("report", {}).get("checks", ()):
            check["detail"] = {}  # what each check sees is its own affair
        seen[name] = shape(document)
    golden = json.loads((checkout / "tests/golden/cli-json.json").read_text("utf-8"))
    assert seen == golden
