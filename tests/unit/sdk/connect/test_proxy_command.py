"""`blindllama proxy` as a process: from its first line to Ctrl-C."""

from __future__ import annotations

import http.client
import io
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from urllib.parse import urlsplit

import pytest

from blindllama._cli import ExitCode, main
from tests.unit.sdk.connect.conftest import Deployed

TIMEOUT_S = 60
Capture = pytest.CaptureFixture[str]


@contextmanager
def proxy_process(arguments: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """The command line as a process, which is ended with the block."""
    program = "import sys; from blindllama._cli import main; sys.exit(main(sys.argv[1:]))"
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stderr=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def test_it_serves_until_it_is_interrupted(deployed: Deployed) -> None:
    with proxy_process(["proxy", *deployed.arguments, "--listen", "127.0.0.1:0"]) as process:
        assert process.stderr is not None
        told = [process.stderr.readline() for _ in range(4)]
        assert told[0] == "verified: simulated-release 2 on qemu-swtpm\n"
        assert "proves nothing against whoever runs the host" in told[2]
        url = urlsplit(told[3].removeprefix("listening: ").strip())
        assert url.path == "/v1"
        connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)
        connection.request("POST", "/v1/completions", body=b'{"prompt": "a secret"}')
        assert connection.getresponse().read().endswith(b"data: [DONE]\n\n")
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        assert process.wait(TIMEOUT_S) == ExitCode.INTERRUPTED
        connection.close()
    assert rest == "POST /v1/completions 200\n"


class Terminal(io.StringIO):
    """Standard error, read by another thread."""

    def __init__(self) -> None:
        super().__init__()
        self.told: SimpleQueue[str] = SimpleQueue()

    def write(self, text: str) -> int:
        self.told.put(text)
        return len(text)


def test_control_c_of_a_program_that_calls_it(
    deployed: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal, answers = Terminal(), list[int]()
    monkeypatch.setattr("sys.stderr", terminal)

    def use() -> None:
        try:
            while not (line := terminal.told.get(timeout=TIMEOUT_S)).startswith("listening: "):
                pass
            url = urlsplit(line.removeprefix("listening: ").strip())
            connection = http.client.HTTPConnection(url.netloc, timeout=TIMEOUT_S)
            connection.request("POST", "/v1/completions", body=b"{}")
            answers.append(connection.getresponse().status)
            connection.close()
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    program = threading.Thread(target=use)
    program.start()
    code = main(["proxy", *deployed.arguments, "--listen", "127.0.0.1:0", "--json"])
    program.join()
    assert (code, answers) == (ExitCode.INTERRUPTED, [200])


def test_nothing_listens_before_the_guest_is_verified(deployed: Deployed, capsys: Capture) -> None:
    deployed.guest.quoter.extend(11, bytes(32))
    assert main(["proxy", *deployed.arguments, "--listen", "127.0.0.1:0"]) == ExitCode.REFUSED
    err = capsys.readouterr().err
    assert "measurement.mismatch" in err
    assert "listening" not in err
    assert deployed.server.application_bytes == 0


@pytest.mark.parametrize(
    "listen", ["8080", "localhost:8080", "192.0.2.1:8080", "127.0.0.1:99999", "127.0.0.1:"]
)
def test_where_it_cannot_listen(deployed: Deployed, capsys: Capture, listen: str) -> None:
    assert main(["proxy", *deployed.arguments, "--listen", listen]) == ExitCode.USAGE
    assert "listen" in capsys.readouterr().err
    assert deployed.server.application_bytes == 0
