from __future__ import annotations

import os
import shlex
import signal
import sys
import time
from pathlib import Path

import pytest

from supply_chain.errors import CommandError, MissingToolError
from supply_chain.process import run, spawn
from supply_chain.workspace import EPOCH


def test_gives_what_the_program_wrote() -> None:
    done = run(["sh", "-c", "cat; echo complaint >&2"], stdin=b"\x00bytes")
    assert (done.returncode, done.stdout, done.stderr) == (0, b"\x00bytes", b"complaint\n")
    assert done.argv == ("sh", "-c", "cat; echo complaint >&2")


def test_standard_input_is_empty_by_default() -> None:
    assert run(["cat"], timeout_s=10).stdout == b""


def test_the_callers_environment_stays_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAKED", "yes")
    monkeypatch.setenv("LC_ALL", "de_DE.UTF-8")
    lines = run(["env"], env={"ADDED": "1"}).stdout.decode().splitlines()
    assert {line.partition("=")[0] for line in lines} == {
        "ADDED",
        "LC_ALL",
        "PATH",
        "SOURCE_DATE_EPOCH",
        "TZ",
    }
    assert {"ADDED=1", "LC_ALL=C.UTF-8", "TZ=UTC", f"SOURCE_DATE_EPOCH={EPOCH}"} <= set(lines)


def test_runs_where_it_is_told(tmp_path: Path) -> None:
    assert run(["pwd"], cwd=tmp_path).stdout.decode().strip() == str(tmp_path.resolve())


def test_a_failure_ends_with_the_command_to_replay() -> None:
    argv = ["sh", "-c", "echo first; echo 'last words' >&2; exit 7"]
    with pytest.raises(CommandError) as caught:
        run(argv)
    assert caught.value.code == "build.command"
    assert caught.value.returncode == 7
    text = str(caught.value).splitlines()
    assert text[0] == "sh failed with exit status 7"
    assert text[1] == "last words"
    assert shlex.split(text[-1].removeprefix("to replay: ")) == argv


def test_only_the_last_lines_of_a_long_complaint_are_repeated() -> None:
    with pytest.raises(CommandError) as caught:
        run(["sh", "-c", "seq 1000 >&2; exit 1"])
    assert len(str(caught.value).splitlines()) < 30
    assert "\n1000\n" in str(caught.value)
    assert caught.value.stderr.startswith(b"1\n2\n")


def test_failure_may_be_allowed() -> None:
    assert run(["false"], check=False).returncode == 1


def test_a_program_that_takes_too_long_is_ended() -> None:
    with pytest.raises(CommandError) as caught:
        run(["sleep", "60"], timeout_s=0.1)
    assert caught.value.returncode is None
    assert "time limit" in str(caught.value)


def test_a_missing_program_is_named() -> None:
    with pytest.raises(MissingToolError) as caught:
        run(["no-such-program-of-blindllama"])
    assert caught.value.code == "build.missing_tool"
    assert caught.value.tool == "no-such-program-of-blindllama"


def test_a_spawned_program_is_ended_with_its_children_and_nothing_else(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "sleep 300 & echo $!; wait"
    server = spawn(["sh", "-c", script], stdout=log, env={"A": "b"})
    try:
        assert os.getpgid(server.pid) == server.pid != os.getpgid(0)
        deadline = time.monotonic() + 10
        while not log.read_text() and time.monotonic() < deadline:
            time.sleep(0.01)
        child = int(log.read_text())
    finally:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    status = Path(f"/proc/{child}/stat")
    deadline = time.monotonic() + 10
    # Killed and not yet reaped by its new parent is dead enough.
    while status.exists() and status.read_text().split()[2] != "Z" and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not status.exists() or status.read_text().split()[2] == "Z"


def test_a_spawned_program_writes_both_outputs_to_its_log(tmp_path: Path) -> None:
    program = "import sys; print('out', flush=True); print('err', file=sys.stderr)"
    server = spawn([sys.executable, "-c", program], stdout=tmp_path / "log")
    assert server.wait(timeout=20) == 0
    assert (tmp_path / "log").read_text() == "out\nerr\n"
