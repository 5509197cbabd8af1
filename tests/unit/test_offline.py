from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROBE = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname(), timeout=5).close()
try:
    socket.create_connection(("192.0.2.1", 80), timeout=5)
except OSError as exc:
    print(exc.strerror)
"""


def test_inside_only_loopback_can_be_reached(checkout: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(checkout / "tests/offline.py"), sys.executable, "-c", PROBE],
        capture_output=True,
        text=True,
        check=False,
    )
    if "no network namespace can be made" in done.stderr:
        pytest.skip(done.stderr.strip())
    assert (done.returncode, done.stdout) == (0, "Network is unreachable\n"), done.stderr
