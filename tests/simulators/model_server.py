"""A model server on a UNIX socket that says what a test tells it to, in llama-server's words."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

WORDS = (" Paris", ".", " It")


@dataclass
class ModelServer:
    """What it answers, and what it was asked."""

    words: tuple[str, ...] = WORDS
    refusal: tuple[int, Mapping[str, Any]] | None = None
    """A status and a body that every request is refused with."""
    holds_after: int | None = None
    """After so many words nothing more comes until `release` is set."""
    breaks_after: int | None = None
    """After so many words the connection is closed."""
    ends_after: int | None = None
    """After so many words the answer ends, in form, without its end mark."""
    release: asyncio.Event = field(default_factory=asyncio.Event)
    said: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when the words before a hold have been sent."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when somebody went away before the end of an answer."""
    asked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Path and body of every request."""
    busy: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when as many requests are inside as `busy_at`."""
    busy_at: int = 1
    inside: int = 0
    most_inside: int = 0
    """The most requests that it ever had at the same time."""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        self.asked.append((request.path, await request.json()))
        self.inside += 1
        self.most_inside = max(self.inside, self.most_inside)
        if self.inside == self.busy_at:
            self.busy.set()
        try:
            return await self._answer(request)
        except asyncio.CancelledError:
            self.gone.set()
            raise
        finally:
            self.inside -= 1

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if self.refusal is not None:
            status, body = self.refusal
            return web.json_response(body, status=status)
        if request.path == "/v1/embeddings":
            return web.json_response(_vectors(len(self.asked[-1][1]["input"])))
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for number, word in enumerate((*self.words, None)):
            if number == self.breaks_after:
                assert request.transport is not None
                request.transport.close()
                return response
            if number == self.ends_after:
                return response
            if number == self.holds_after:
                self.said.set()
                await self.release.wait()
            await response.write(_event(_chunk(request.path, word)))
        await response.write(_event(TOLD) + b"data: [DONE]\n\n")
        return response


TOLD = {
    "choices": [],
    "usage": {
        "prompt_tokens": 5,
        "completion_tokens": 3,
        "total_tokens": 8,
        "prompt_tokens_details": {"cached_tokens": 4},
    },
    "timings": {"cache_n": 4, "prompt_n": 1},
    "system_fingerprint": "b11669-Debian",
}
"""What the server tells beside its words; most of it is nobody's business."""


@contextlib.asynccontextmanager
async def serving(server: ModelServer, socket: Path) -> AsyncIterator[None]:
    """The server at a socket, for the length of a block."""
    app = web.Application()
    app.router.add_post("/{path:.*}", server.answer)
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    await web.UnixSite(runner, str(socket)).start()
    try:
        yield
    finally:
        server.release.set()
        await runner.cleanup()


def _chunk(path: str, word: str | None) -> dict[str, Any]:
    reason = "length" if word is None else None
    if path == "/v1/chat/completions":
        delta = {} if word is None else {"content": word}
        choice: dict[str, Any] = {"index": 0, "delta": delta, "finish_reason": reason}
    else:
        choice = {"index": 0, "text": word or "", "logprobs": None, "finish_reason": reason}
    return {"choices": [choice], "model": "x", "id": "chatcmpl-1", "system_fingerprint": "b11669"}


def _vectors(count: int) -> dict[str, Any]:
    # In the other order: the index says which is which.
    data = [{"index": i, "embedding": [i + 0.25, -0.5]} for i in reversed(range(count))]
    return {"data": data, "usage": {"prompt_tokens": 2 * count}}


def _event(document: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(document).encode() + b"\n\n"
