"""The connection to the model server: a UNIX socket, or a port of the pod's own loopback."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import aiohttp

from front.abandoned import AbandonedSocket
from front.dialect import AnswerFormError, embeddings
from front.errors import ApiError, Code

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence

    from front.dialect import Call, Dialect
    from front.task import Embeddings, Piece, Task

_LINE_BYTES = 1 << 20
_ERROR_BYTES = 1 << 16
_UNIX = "unix:"
_OK = 200


class Upstream:
    """A model server, asked in its own dialect.

    Each request has a connection, which is closed with it: that is how every kind of server learns
    that nobody waits for an answer any more.
    """

    def __init__(self, address: str, dialect: Dialect) -> None:
        """Connect to nothing yet; must be made inside a running event loop.

        Args:
            address: `unix:/path`, or `http://127.0.0.1:port`.
            dialect: How it is asked.
        """
        self._dialect = dialect
        self._abandoned: AbandonedSocket | None = None
        connector: aiohttp.BaseConnector
        if address.startswith(_UNIX):
            path = address.removeprefix(_UNIX)
            connector = aiohttp.UnixConnector(path, force_close=True, limit=0)
            self._abandoned = AbandonedSocket(Path(path), asyncio.get_running_loop().time)
            self._base = "http://server"
        else:
            connector = aiohttp.TCPConnector(force_close=True, limit=0)
            self._base = address
        self._session = aiohttp.ClientSession(
            connector=connector,
            # Time is limited where the request came in.
            timeout=aiohttp.ClientTimeout(total=None),
            read_bufsize=_LINE_BYTES,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
        )

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    @contextlib.asynccontextmanager
    async def generate(self, task: Task) -> AsyncIterator[AsyncIterator[Piece]]:
        """The pieces of an answer, for the length of a block; leaving it ends the work.

        Raises:
            ApiError: The server refused, is not there, or failed; also from within the block.
        """
        call = self._dialect.generate(task)
        async with contextlib.AsyncExitStack() as stack:
            with _translated():
                response = await stack.enter_async_context(self._post(call))
            yield await stack.enter_async_context(contextlib.aclosing(self._pieces(response)))

    async def embed(self, texts: Sequence[str]) -> Embeddings:
        """A vector for each text.

        Raises:
            ApiError: The server refused, is not there, or failed.
        """
        call = self._dialect.embed(texts)
        with _translated():
            async with self._post(call) as response:
                return embeddings(_object(await response.read()))

    @contextlib.asynccontextmanager
    async def _post(self, call: Call) -> AsyncIterator[aiohttp.ClientResponse]:
        url = self._base + call.path
        sent = self._session.post(url, json=call.document, allow_redirects=False)
        async with contextlib.AsyncExitStack() as stack:
            try:
                response = await stack.enter_async_context(sent)
            except aiohttp.ClientConnectorError as exc:
                if isinstance(exc.os_error, ConnectionRefusedError) and self._abandoned:
                    self._abandoned.refused()
                raise
            if response.status != _OK:
                document = _object(await response.content.read(_ERROR_BYTES), or_empty=True)
                raise self._dialect.refusal(response.status, document)
            yield response

    async def _pieces(self, response: aiohttp.ClientResponse) -> AsyncGenerator[Piece]:
        with _translated():
            async for line in response.content:
                name, _, value = line.strip().partition(b":")
                data = value.strip()
                if data == b"[DONE]":
                    return
                if name == b"data":
                    yield self._dialect.piece(_event(data))
                elif name == b"error":
                    raise AnswerFormError("the server reports a failure")
            if self._dialect.has_end_mark:
                raise AnswerFormError("expected an end mark")


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """What goes wrong with the server, said once; nothing of a request or an answer is repeated."""
    try:
        yield
    except aiohttp.ClientConnectorError:
        raise ApiError(
            Code.SERVER_UNAVAILABLE, "the model server is not there; try again later"
        ) from None
    except (aiohttp.ClientError, OSError):
        raise ApiError(Code.SERVER_FAILED, "the model server went away in the middle") from None
    except (AnswerFormError, ValueError):
        # A line beyond the limit is a ValueError of aiohttp's.
        raise ApiError(Code.SERVER_FAILED, "the model server failed in the middle") from None


def _event(data: bytes) -> dict[str, Any]:
    event = _object(data)
    if "error" in event:
        raise AnswerFormError("the server reports a failure")
    return event


def _object(data: bytes, *, or_empty: bool = False) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if isinstance(document, dict):
        return document
    if or_empty:
        return {}
    raise AnswerFormError("expected a JSON object")
