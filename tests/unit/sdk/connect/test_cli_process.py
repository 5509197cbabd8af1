"""How the program ends: signals, pipes, terminals, exit codes."""

from __future__ import annotations

import importlib
import json
import runpy
import signal
import subprocess
import sys

import pytest

from blindllama._cli import ExitCode, main
from tests.simulators.attested_server import WORDS, Answer
from tests.unit.sdk.connect.conftest import Deployed

Capture = pytest.CaptureFixture[str]


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


def test_a_python_that_runs_the_package(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    importlib.import_module("blindllama.__main__")  # imported, it does nothing
    monkeypatch.delitem(sys.modules, "blindllama.__main__")
    monkeypatch.setattr("sys.argv", ["blindllama", "--help"])
    with pytest.raises(SystemExit) as caught:
        runpy.run_module("blindllama", run_name="__main__")
    assert caught.value.code == ExitCode.DONE
    assert capsys.readouterr().out.startswith("usage: blindllama ")
