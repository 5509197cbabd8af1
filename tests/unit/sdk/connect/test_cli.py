"""The commands that talk to a guest: what they say, where, and how they end."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from blindllama._cli import ExitCode, main
from tests.simulators.attested_server import WORDS, Answer
from tests.simulators.release_repository import publisher_of
from tests.unit.sdk.connect.conftest import Deployed

Capture = pytest.CaptureFixture[str]


def test_verify_shows_the_ten_checks(deployed: Deployed, capsys: Capture) -> None:
    assert main(["verify", *deployed.arguments]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert out.count("✔") == 10
    assert "simulates the TPM" in out
    assert err == ""
    assert deployed.server.application_bytes == 0


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


class TestChat:
    def talk(self, deployed: Deployed, monkeypatch: pytest.MonkeyPatch, *lines: str) -> list[str]:
        """Arguments of a chat whose standard input has these lines."""
        monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        return ["chat", *deployed.arguments]

    def test_each_line_of_a_pipe_is_answered(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = self.talk(deployed, monkeypatch, "Hi", "", "  And then?")
        assert main(arguments) == ExitCode.DONE
        out, err = capsys.readouterr()
        assert out == ("".join(WORDS) + "\n") * 2
        assert "> " not in err
        assert deployed.server.paths == ["/v1/chat/completions"] * 2
        assert deployed.server.attestations == 1

    def test_the_talk_so_far_goes_with_each_line(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = [*self.talk(deployed, monkeypatch, "Hi"), "--system", "Be brief.", "--json"]
        assert main(arguments) == ExitCode.DONE
        event, document = capsys.readouterr().out.splitlines()
        answer = "".join(WORDS)
        assert json.loads(event) == {"event": {"name": "answer", "text": answer}}
        assert json.loads(document)["talk"] == [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": answer},
        ]

    def test_a_person_sees_where_to_type(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        arguments = self.talk(deployed, monkeypatch, "Hi")
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        assert main(arguments) == ExitCode.DONE
        assert capsys.readouterr().err.count("> ") == 2

    def test_an_empty_pipe_is_no_talk(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        assert main(self.talk(deployed, monkeypatch)) == ExitCode.DONE
        assert capsys.readouterr().out == ""
        assert deployed.server.application_bytes == 0

    def test_nothing_is_said_to_a_guest_that_is_refused(
        self, deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        deployed.guest.quoter.extend(11, bytes(32))
        assert main(self.talk(deployed, monkeypatch, "a secret")) == ExitCode.REFUSED
        assert "secret" not in "".join(capsys.readouterr())
        assert deployed.server.application_bytes == 0


class TestProcess:
    """The program as it is started, with real signals and pipes."""

    def start(self, deployed: Deployed, command: str, *extra: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "blindllama", command, *deployed.arguments, *extra],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "utf-8"},
        )

    def test_control_c_ends_a_chat_without_a_traceback(self, deployed: Deployed) -> None:
        with self.start(deployed, "chat") as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdin.write("Hi\n")
            process.stdin.flush()
            assert process.stdout.readline() == "".join(WORDS) + "\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(timeout=30) == ExitCode.INTERRUPTED
            assert "Traceback" not in process.stderr.read()

    def test_whoever_has_read_enough_may_leave(self, deployed: Deployed) -> None:
        with self.start(deployed, "verify") as process:
            assert process.stdout is not None
            assert process.stderr is not None
            process.stdout.close()
            assert process.wait(timeout=30) == ExitCode.DONE
            assert process.stderr.read() == ""

    def test_a_terminal_without_check_marks_gets_something_else(self, deployed: Deployed) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "blindllama", "verify", *deployed.arguments],
            capture_output=True,
            check=True,
            env={"PYTHONPATH": ":".join(sys.path), "PYTHONIOENCODING": "ascii"},
        )
        assert done.stdout.startswith(b"?  1 Policy")
        assert done.stderr == b""


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


def test_exit_code_of_a_server_that_is_not_reached(deployed: Deployed, capsys: Capture) -> None:
    deployed.server.answer = lambda _: Answer(raw=b"")
    assert main(["verify", *deployed.arguments, "--json"]) == ExitCode.NETWORK
    out, err = capsys.readouterr()
    assert "not reached" in err
    assert json.loads(out)["error"]["kind"] == "network"


def test_exit_code_of_wrong_arguments(deployed: Deployed, capsys: Capture) -> None:
    arguments = ["ask", *deployed.arguments, "--max-tokens", "0", "--json", "Once"]
    assert main(arguments) == ExitCode.USAGE
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "usage"
    with pytest.raises(SystemExit) as caught:
        main(["ask"])
    assert caught.value.code == ExitCode.USAGE
    capsys.readouterr()


def test_exit_code_of_a_missing_policy(deployed: Deployed, capsys: Capture) -> None:
    missing = [*deployed.arguments[:-1], str(deployed.folder / "missing.toml")]
    assert main(["verify", *missing]) == ExitCode.REFUSED
    assert "policy.unreadable" in capsys.readouterr().err


def test_a_memory_is_kept(deployed: Deployed, capsys: Capture) -> None:
    memory = deployed.folder / "memory.json"
    assert main(["verify", *deployed.arguments, "--memory", str(memory)]) == ExitCode.DONE
    assert list(json.loads(memory.read_bytes())["sequences"].values()) == [2]
    capsys.readouterr()


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


def test_a_known_release_is_recognised(deployed: Deployed, capsys: Capture) -> None:
    deployed.run_older()
    path = deployed.folder / "older.json"
    path.write_bytes(deployed.older.evidence)
    assert main(["verify", *deployed.arguments, "--known", str(path)]) == ExitCode.REFUSED
    assert "it is that of release 1, you asked for release 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("cause", "code"),
    [(KeyboardInterrupt(), ExitCode.INTERRUPTED), (BrokenPipeError(), ExitCode.DONE)],
)
def test_exit_codes_of_whoever_sits_before_it(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch, cause: BaseException, code: ExitCode
) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return False

        def write(self, _: str) -> int:
            raise cause

        def flush(self) -> None: ...

    monkeypatch.setattr("sys.stdout", Terminal())
    assert main(["verify", *deployed.arguments]) == code


def test_a_closed_standard_output_is_no_failure(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout", None)
    assert main(["verify", *deployed.arguments]) == ExitCode.DONE


def test_a_terminal_gets_a_table(
    deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["verify", *deployed.arguments]) == ExitCode.DONE
    assert "what was seen" in capsys.readouterr().out


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
