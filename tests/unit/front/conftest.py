"""The API on loopback in front of a model server that a test drives."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from front.api import Api
from front.dialect import Dialect, LlamaDialect
from front.limits import Limits
from front.upstream import Upstream
from front.work import Settings, Work
from tests.simulators.model_server import ModelServer, serving

MODEL = "tiny"
LIMITS = Limits(max_tokens=64, prompt_characters=1000, time_s=60.0, concurrent=1, waiting=2)
SETTINGS = Settings(model=MODEL, limits=LIMITS)


@dataclass
class Served:
    """A running API."""

    url: str
    client: aiohttp.ClientSession
    server: ModelServer
    time: list[float]
    """The clock that readiness is told; a test may move it."""

    async def post(self, path: str, body: object) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers of an answer."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        async with self.client.post(self.url + path, data=io.BytesIO(data)) as response:
            return response.status, await response.read(), dict(response.headers)

    async def get(self, path: str) -> tuple[int, bytes]:
        """Status and body of an answer."""
        async with self.client.get(self.url + path) as response:
            return response.status, await response.read()


@dataclass
class Serve:
    """Starts APIs of this test."""

    socket: Path
    server: ModelServer = field(default_factory=ModelServer)

    @contextlib.asynccontextmanager
    async def __call__(
        self,
        server: ModelServer | None = None,
        *,
        settings: Settings = SETTINGS,
        dialect: Dialect | None = None,
        present: bool = True,
        limits: Limits = LIMITS,
    ) -> AsyncIterator[Served]:
        """An API in front of a server, or of a socket where nobody is."""
        server = server or ModelServer()
        settings = replace(settings, limits=limits)
        time = [0.0]
        numbers = itertools.count(1)
        async with contextlib.AsyncExitStack() as stack:
            if present:
                await stack.enter_async_context(serving(server, self.socket))
            upstream = Upstream(f"unix:{self.socket}", dialect or LlamaDialect(MODEL))
            api = Api(
                settings,
                Work(settings, upstream, clock=lambda: time[0]),
                seconds=lambda: 1000,
                identity=lambda: str(next(numbers)),
            )
            runner = web.AppRunner(
                api.application(), access_log=None, handler_cancellation=True, shutdown_timeout=0.1
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            client = await stack.enter_async_context(aiohttp.ClientSession())
            host, port = runner.addresses[0][:2]
            yield Served(url=f"http://{host}:{port}", client=client, server=server, time=time)


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Starts an API in front of a driven model server."""
    return Serve(socket=tmp_path / "server.sock")


def events(body: bytes) -> list[Any]:
    """The documents of an event stream; the end mark as a text."""
    lines = [line.removeprefix(b"data: ") for line in body.split(b"\n\n") if line]
    return [line.decode() if line == b"[DONE]" else json.loads(line) for line in lines]


def error_of(body: bytes) -> dict[str, Any]:
    """The error of an answer."""
    error: dict[str, Any] = json.loads(body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    return error
