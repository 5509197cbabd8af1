"""How many callers one slow TPM serves: the guest's attestation service outside a guest.

Service, TPM and callers are processes of their own, on UNIX sockets, as ingress and service are in
the guest. A TPM of hardware or of a cloud takes about 50 ms for a quote; here a delay in front of
swtpm stands for it. What is held against each other is the time for one answer when many ask at
once, each again as soon as it was answered, and when one asks alone.
"""

from __future__ import annotations

import asyncio
import base64
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import MappingProxyType

from deploy.qemu.vtpm import copy_state, provision, served
from tests.bench.paired import Bench, OpenBench

SLOW_QUOTE_S = 0.050
CROWD = 256
SLOW_GOAL = 1 / 50
BARE_GOAL = 1 / 8
LATE_GOAL = 3.0
EACH = 4
"""Answers to each caller of a crowd in one sample."""
ALONE = 12
"""Answers of one sample of a caller alone."""
ROUNDS = 7
LOG_SIZE = 24 * 1024
"""Bytes of an event log: what this machine's firmware writes."""

_ROOT = Path(__file__).resolve().parents[2]
_START_S = 20.0


def _benches() -> Mapping[str, OpenBench]:
    slow = {
        f"crowd_{callers}": partial(_rate, callers, quote_s=SLOW_QUOTE_S, goal=4 / callers)
        for callers in (4, 16, 64)
    }
    slow[f"crowd_{CROWD}"] = partial(_rate, CROWD, quote_s=SLOW_QUOTE_S, goal=SLOW_GOAL)
    bare = partial(_rate, CROWD, quote_s=0.0, goal=BARE_GOAL)
    return MappingProxyType({**slow, "crowd_late": _late, "crowd_bare": bare})


@contextmanager
def _rate(callers: int, *, quote_s: float, goal: float) -> Iterator[Bench]:
    """Time for one answer, of many callers against one."""
    kind = f"{1e3 * quote_s:.0f} ms for a quote" if quote_s else "swtpm as it is"
    with _service(quote_s) as socket:
        yield Bench(
            name=f"an answer to one of {callers} callers at once, against one alone; {kind}",
            subject=lambda: _ask(socket, callers, EACH)[0],
            baseline=lambda: _ask(socket, 1, ALONE)[0],
            at_most_ratio=goal,
            rounds=ROUNDS,
        )


@contextmanager
def _late() -> Iterator[Bench]:
    """The 99th percentile of the callers' waiting, against how long a quote takes."""
    with _service(SLOW_QUOTE_S) as socket:
        yield Bench(
            name=f"99th percentile of {CROWD} callers' waiting, against one caller alone; "
            f"{1e3 * SLOW_QUOTE_S:.0f} ms for a quote",
            subject=lambda: _late_share(_ask(socket, CROWD, EACH)[1]),
            baseline=lambda: statistics.median(_ask(socket, 1, ALONE)[1]),
            at_most_ratio=LATE_GOAL,
            rounds=ROUNDS,
        )


def _late_share(waited: list[float]) -> float:
    """The 99th percentile."""
    return statistics.quantiles(waited, n=100)[98]


BENCHES = _benches()


@contextmanager
def _service(quote_s: float) -> Iterator[Path]:
    """The socket of a service whose TPM takes this much longer for a quote."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bl-crowd-")))
        tpm = provision(folder / "state", now=datetime.now(UTC))
        tcti = stack.enter_context(served(copy_state(tpm, folder / "tpm")))
        if quote_s:
            between = folder / "between"
            behind = tcti.removeprefix("swtpm:path=")
            argv = ["-m", "tests.simulators.tpm_proxy", str(between), behind, str(quote_s)]
            proxy = stack.enter_context(_running(*argv))
            assert proxy.stdout is not None
            proxy.stdout.readline()
            tcti = f"swtpm:path={between}"
        files = {
            "spki": bytes(91),
            "event-log": os.urandom(LOG_SIZE),
            "app-events": b"[]",
            "app": b"",
        }
        options = []
        for name, content in files.items():
            (folder / name).write_bytes(content)
            options.append(f"--{name}={folder / name}")
        socket = folder / "s"
        options += [f"--socket={socket}", f"--tcti={tcti}"]
        stack.enter_context(_running("-m", "os_image.guest.attest", *options))
        _wait_until_it_answers(socket)
        yield socket


@contextmanager
def _running(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def _wait_until_it_answers(socket: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            _ask(socket, 1, 1)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _ask(socket: Path, callers: int, each: int) -> tuple[float, list[float]]:
    """Seconds for one answer, all callers taken together, and how long each answer took."""
    waited: list[float] = []

    async def caller() -> None:
        for _ in range(each):
            start = time.perf_counter()
            await _Exchange.done(socket)
            waited.append(time.perf_counter() - start)

    async def crowd() -> None:
        await asyncio.gather(*(caller() for _ in range(callers)))

    start = time.perf_counter()
    asyncio.run(crowd())
    return (time.perf_counter() - start) / (callers * each), waited


class _Exchange(asyncio.Protocol):
    """One request with a nonce of its own and its answer, with as little of our own as possible."""

    def __init__(self, answered: asyncio.Future[None]) -> None:
        self._answered = answered
        self._answer = bytearray()

    @classmethod
    async def done(cls, socket: Path) -> None:
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[None] = loop.create_future()
        await loop.create_unix_connection(lambda: cls(answered), str(socket))
        await answered

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)
        body = b'{"nonce":"' + base64.b64encode(os.urandom(32)) + b'"}'
        head = f"POST /attestation HTTP/1.1\r\nHost: guest\r\nContent-Length: {len(body)}\r\n\r\n"
        transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        self._answer += data

    def connection_lost(self, exc: Exception | None) -> None:
        if exc is None and self._answer.startswith(b"HTTP/1.1 200 "):
            self._answered.set_result(None)
        else:
            line = bytes(self._answer.partition(b"\r\n")[0])
            self._answered.set_exception(exc or ConnectionError(f"answered with {line!r}"))
