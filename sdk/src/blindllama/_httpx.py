"""httpx and openai over the attested pool: the same decisions as for requests, made by the same code.

openai brings httpx2, which has httpx's names; what follows works for either. There is no client of
its own behind it: a request is handed to the `Carrier`, in a thread where the caller is
asynchronous, so the event loop never waits. Nothing is read from the environment.
"""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from blindllama._carrier import ANSWER_TIMEOUT_S, Answer, Carrier, Outgoing
from blindllama._interruption import Interruption
from blindllama.errors import UsageError

if TYPE_CHECKING:
    import httpx
    import openai

__all__ = ["async_httpx_client", "async_openai_client", "httpx_client", "openai_client"]

_THREADS: Final = 128
"""Most answers that one asynchronous client reads at the same time."""
_NO_WEBSOCKETS: Final = "attested-requests-only://websockets"
"""openai would open a connection of its own for them, which nothing has attested."""


def httpx_client(carrier: Carrier) -> httpx.Client:
    """Return a client of httpx whose requests go to the guest alone.

    Raises:
        UsageError: httpx is not installed.
    """
    library = _library("httpx", extra="httpx")
    client: httpx.Client = library.Client(
        transport=_joined(library, _Transport, "BaseTransport")(library, carrier),
        **_options(library, carrier),
    )
    return client


def async_httpx_client(carrier: Carrier) -> httpx.AsyncClient:
    """Return an asynchronous client of httpx whose requests go to the guest alone.

    Raises:
        UsageError: httpx is not installed.
    """
    library = _library("httpx", extra="httpx")
    client: httpx.AsyncClient = library.AsyncClient(
        transport=_joined(library, _AsyncTransport, "AsyncBaseTransport")(library, carrier),
        **_options(library, carrier),
    )
    return client


def openai_client(carrier: Carrier, *, api_key: str) -> openai.OpenAI:
    """Return the stock client of openai, whose requests go to the guest alone.

    Raises:
        UsageError: openai is not installed.
    """
    library, below = _library("openai", extra="openai"), _library("httpx2", extra="openai")
    transport = _joined(below, _Transport, "BaseTransport")(below, carrier)
    http_client = below.Client(
        transport=transport, follow_redirects=True, **_options(below, carrier)
    )
    client: openai.OpenAI = library.OpenAI(
        http_client=http_client, **_openai_options(carrier, api_key)
    )
    return client


def async_openai_client(carrier: Carrier, *, api_key: str) -> openai.AsyncOpenAI:
    """Return the stock asynchronous client of openai, whose requests go to the guest alone.

    Raises:
        UsageError: openai is not installed.
    """
    library, below = _library("openai", extra="openai"), _library("httpx2", extra="openai")
    transport = _joined(below, _AsyncTransport, "AsyncBaseTransport")(below, carrier)
    http_client = below.AsyncClient(
        transport=transport, follow_redirects=True, **_options(below, carrier)
    )
    client: openai.AsyncOpenAI = library.AsyncOpenAI(
        http_client=http_client, **_openai_options(carrier, api_key)
    )
    return client


def _library(name: str, *, extra: str) -> Any:  # noqa: ANN401 - httpx or httpx2, alike but unrelated
    try:
        return import_module(name)
    except ModuleNotFoundError as exc:
        raise UsageError(
            f'{name} is not installed; run: pip install "blindllama[{extra}]"'
        ) from exc


def _options(library: Any, carrier: Carrier) -> dict[str, object]:  # noqa: ANN401 - see _library
    return {
        "base_url": carrier.origin.url,
        "trust_env": False,
        "timeout": library.Timeout(ANSWER_TIMEOUT_S, connect=carrier.timeout_s),
        "headers": {"Accept-Encoding": "identity"},  # compression would leak lengths
    }


def _openai_options(carrier: Carrier, api_key: str) -> dict[str, object]:
    # What is not given, openai takes from OPENAI_… variables: even the address.
    return {
        "base_url": f"{carrier.origin.url}/v1",
        "websocket_base_url": _NO_WEBSOCKETS,
        "api_key": api_key,
        "admin_api_key": "",
        "organization": "",
        "project": "",
        "webhook_secret": "",
        "max_retries": 0,  # a request that may have arrived is never repeated
    }


def _joined(library: Any, ours: type, theirs: str) -> Callable[..., Any]:  # noqa: ANN401 - see _library
    """Return our class as a kind of theirs: both libraries look at the type."""
    return type(ours.__name__, (ours, getattr(library, theirs)), {})


class _Stream:
    """The body of an answer, read by the caller's thread."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._answer.read():
            yield piece

    def close(self) -> None:
        self._answer.close()


class _AsyncStream:
    """The body of an answer, read by a thread for an event loop."""

    def __init__(self, answer: Answer, in_thread: Callable[..., Any]) -> None:
        self._answer = answer
        self._in_thread = in_thread

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while piece := await self._in_thread(self._answer.read):
            yield piece

    async def aclose(self) -> None:
        self._answer.close()  # never waits, even for a thread that is reading


class _Transport:
    """Hands the requests of a client to the carrier."""

    def __init__(self, library: Any, carrier: Carrier) -> None:  # noqa: ANN401 - see _library
        self._library = library
        self._carrier = carrier
        self._stream = _joined(library, _Stream, "SyncByteStream")

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        outgoing = _outgoing(self._carrier, request, request.read())
        answer = self._carrier.send(outgoing)
        return _response(self._library, answer, self._stream(answer))

    def close(self) -> None:
        """Leave the connections alone: they are the session's."""


class _AsyncTransport:
    """Hands the requests of an asynchronous client to the carrier, in threads."""

    def __init__(self, library: Any, carrier: Carrier) -> None:  # noqa: ANN401 - see _library
        anyio = import_module("anyio")
        self._library = library
        self._carrier = carrier
        self._stream = _joined(library, _AsyncStream, "AsyncByteStream")
        self._in_thread = partial(
            import_module("anyio.to_thread").run_sync,
            abandon_on_cancel=True,
            limiter=anyio.CapacityLimiter(_THREADS),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        outgoing = _outgoing(self._carrier, request, await request.aread())
        handover = _Handover(self._carrier)
        try:
            answer = await self._in_thread(handover.send, outgoing)
        except BaseException:
            handover.abandon()
            raise
        return _response(self._library, answer, self._stream(answer, self._in_thread))

    async def aclose(self) -> None:
        """Leave the connections alone: they are the session's."""


class _Handover:
    """An answer on its way from a thread to a task that may be cancelled meanwhile."""

    def __init__(self, carrier: Carrier) -> None:
        self._carrier = carrier
        self._lock = threading.Lock()
        self._interruption = Interruption()
        self._abandoned = False
        self._answer: Answer | None = None

    def send(self, outgoing: Outgoing) -> Answer:
        answer = self._carrier.send(outgoing, self._interruption)
        with self._lock:
            self._answer = answer
            if self._abandoned:
                answer.close()
        return answer

    def abandon(self) -> None:
        # The guest is told by the end of the connection, and need not answer any more.
        self._interruption.interrupt()
        with self._lock:
            self._abandoned = True
            if self._answer is not None:
                self._answer.close()


def _outgoing(carrier: Carrier, request: httpx.Request, body: bytes) -> Outgoing:
    carrier.check_origin(str(request.url))
    timeout = request.extensions.get("timeout", {})
    return Outgoing(
        method=request.method,
        target=request.url.raw_path.decode("ascii"),
        headers=request.headers.multi_items(),
        body=body,
        connect_s=timeout.get("connect"),
        answer_s=timeout.get("read"),
    )


def _response(library: Any, answer: Answer, stream: object) -> httpx.Response:  # noqa: ANN401 - see _library
    response: httpx.Response = library.Response(
        answer.status,
        headers=answer.headers,
        stream=stream,
        extensions={
            "http_version": b"HTTP/1.1",
            "reason_phrase": answer.reason.encode("ascii", "ignore"),
        },
    )
    return response
