"""The model server on this machine: the answer that a guest's answer is compared with."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar

from engine.server import server_argv
from supply_chain.errors import BuildError
from supply_chain.process import spawn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from engine.spec import EngineSpec

_LOOPBACK = "127.0.0.1"
_READY_S = 30.0
_ANSWER_S = 120.0


class NativeServerError(BuildError):
    """The model server did not start on this machine, or did not answer."""

    code: ClassVar[str] = "engine.native"


@dataclass(frozen=True, slots=True, kw_only=True)
class NativeServer:
    """A model server that listens on loopback."""

    url: str

    def complete(self, prompt: str, *, max_tokens: int) -> str:
        """The greedy continuation of a prompt.

        Raises:
            NativeServerError: The server refused or closed the connection.
        """
        answer = self._post("/v1/completions", completion_request(prompt, max_tokens=max_tokens))
        return str(answer["choices"][0]["text"])

    def _post(self, path: str, document: dict[str, Any]) -> dict[str, Any]:
        request = urllib.request.Request(  # noqa: S310 - always http on loopback
            self.url + path,
            json.dumps(document).encode(),
            {"content-type": "application/json"},
        )
        try:
            with _opener().open(request, timeout=_ANSWER_S) as response:
                answer: dict[str, Any] = json.load(response)
        except (OSError, ValueError) as exc:
            raise NativeServerError(f"the native model server did not answer: {exc}") from exc
        return answer


def completion_request(prompt: str, *, max_tokens: int) -> dict[str, Any]:
    """The body of a request whose answer is a function of the model: greedy, fixed seed."""
    return {"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "seed": 0}


@contextlib.contextmanager
def native_server(spec: EngineSpec, *, model: Path, root: Path) -> Iterator[NativeServer]:
    """A running model server; it is ended when the block is left.

    Args:
        spec: The engine that is served, with the arguments that the guest uses.
        model: The model's file.
        root: A directory tree that holds llama-server and ONE variant of the CPU backend, such as
            the unpacked layer of the application's image: with several, the machine's own processor
            would choose, and the answer with it. The server runs chrooted into it, as root.

    Raises:
        NativeServerError: It ended or did not get ready; the text has its last lines.
    """
    with tempfile.TemporaryDirectory(prefix="native-server-") as name:
        stage = Path(name)
        served = root / "models" / "model.gguf"
        served.parent.mkdir(exist_ok=True)
        shutil.copyfile(model, served)
        port = _free_port()
        log = stage / "server.log"
        argv = server_argv(
            spec, model=PurePosixPath("/models/model.gguf"), host=_LOOPBACK, port=port
        )
        process = spawn(["chroot", str(root), *argv], stdout=log)
        try:
            _await_ready(process, port=port, log=log)
            yield NativeServer(url=f"http://{_LOOPBACK}:{port}")
        finally:
            process.terminate()
            process.wait()
            served.unlink(missing_ok=True)


def _await_ready(process: subprocess.Popen[bytes], *, port: int, log: Path) -> None:
    deadline = time.monotonic() + _READY_S
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with _opener().open(f"http://{_LOOPBACK}:{port}/health", timeout=1):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    tail = log.read_text(errors="replace").splitlines()[-20:]
    raise NativeServerError("\n".join(["the native model server did not get ready", *tail]))


def _opener() -> urllib.request.OpenerDirector:
    # The environment's proxies are not asked about loopback.
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        port: int = probe.getsockname()[1]
    return port
