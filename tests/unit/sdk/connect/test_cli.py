from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from blindllama._cli import ExitCode, main
from tests.simulators.attested_server import WORDS, Answer
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
    assert json.loads(capsys.readouterr().out)["passed"] is True


def test_verify_shows_the_checks_of_a_refusal(deployed: Deployed, capsys: Capture) -> None:
    deployed.guest.quoter.extend(11, bytes(32))
    assert main(["verify", *deployed.arguments, "--json"]) == ExitCode.REFUSED
    out, err = capsys.readouterr()
    assert json.loads(out)["checks"][8]["detail"]["code"] == "measurement.mismatch"
    assert err.startswith("blindllama: refused at check 9, measurement.mismatch: PCR 11")
    assert deployed.server.application_bytes == 0


def test_ask_streams_the_answer(deployed: Deployed, capsys: Capture) -> None:
    assert main(["ask", *deployed.arguments, "The capital of France is"]) == ExitCode.DONE
    out, err = capsys.readouterr()
    assert out == "".join(WORDS) + "\n"
    assert "verified: simulated-release 2 on qemu-swtpm" in err
    assert "proves nothing against whoever runs the host" in err


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


def test_exit_code_of_a_server_that_is_not_reached(deployed: Deployed, capsys: Capture) -> None:
    deployed.server.answer = lambda _: Answer(raw=b"")
    assert main(["verify", *deployed.arguments]) == ExitCode.NETWORK
    assert "not reached" in capsys.readouterr().err


def test_exit_code_of_wrong_arguments(deployed: Deployed, capsys: Capture) -> None:
    arguments = ["ask", *deployed.arguments, "--max-tokens", "0", "Once"]
    assert main(arguments) == ExitCode.USAGE
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


def test_inspect_believes_nothing(checkout: Path, capsys: Capture) -> None:
    assert main(["inspect", str(checkout / "tests/golden/evidence-v1.json")]) == ExitCode.DONE
    claims = json.loads(capsys.readouterr().out)
    assert claims["verified"] is False
    assert claims["quote"]["magic"] == "0xff544347"
    assert claims["quote"]["selections"] == [{"bank": "0x000b", "pcrs": list(range(16))}]
    assert claims["event_log"]["replays_to_claimed"] == list(range(15))


@pytest.mark.parametrize(("content", "code"), [(None, ExitCode.USAGE), (b"{}", ExitCode.REFUSED)])
def test_inspect_of_something_else(
    tmp_path: Path, capsys: Capture, content: bytes | None, code: ExitCode
) -> None:
    path = tmp_path / "evidence.json"
    if content is not None:
        path.write_bytes(content)
    assert main(["inspect", str(path)]) == code
    capsys.readouterr()


def test_inspect_of_a_broken_log(checkout: Path, tmp_path: Path, capsys: Capture) -> None:
    document = json.loads((checkout / "tests/golden/evidence-v1.json").read_bytes())
    document["event_log"] = "AAAA"
    path = tmp_path / "evidence.json"
    path.write_text(json.dumps(document))
    assert main(["inspect", str(path)]) == ExitCode.DONE
    assert "unreadable" in json.loads(capsys.readouterr().out)["event_log"]


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


def test_a_terminal_gets_a_table(
    deployed: Deployed, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    assert main(["verify", *deployed.arguments]) == ExitCode.DONE
    assert "what was seen" in capsys.readouterr().out


def test_help_is_quick_and_says_the_exit_codes() -> None:
    program = (
        "import sys; from blindllama._cli import main\n"
        "try: main(['--help'])\n"
        "finally: print([m for m in ('requests', 'cryptography', 'pydantic') if m in sys.modules])"
    )
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    )
    assert "exit codes: 0 done, 1 refused" in done.stdout
    assert done.stdout.strip().endswith("[]")
    assert time.monotonic() - started < 5
