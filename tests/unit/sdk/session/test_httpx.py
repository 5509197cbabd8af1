"""httpx through the attested pool, synchronous and asynchronous."""

from __future__ import annotations

import asyncio
import gzip
import sys
import threading
from http.server import BaseHTTPRequestHandler

import httpx
import pytest

from blindllama._carrier import Outgoing
from blindllama._httpx import _Handover
from blindllama.errors import Code, FormatError, NetworkError, UsageError
from blindllama.session import AttestedSession
from tests.simulators.attested_server import WORDS, Server
from tests.simulators.openai_server import OpenAiServer

STREAM = {"prompt": "Once", "stream": True}


def test_paths_headers_and_bodies_arrive(session: AttestedSession, server: Server) -> None:
    heard: list[tuple[str, str | None, list[str]]] = []

    def record(handler: BaseHTTPRequestHandler) -> None:
        values = handler.headers.get_all("X-Twice") or []
        heard.append((handler.path, handler.headers["Host"], values))
        handler.send_response(201, "Made")
        handler.send_header("Content-Length", "2")
        handler.send_header("Set-Cookie", "a=1")
        handler.send_header("Set-Cookie", "b=2")
        handler.end_headers()
        handler.wfile.write(b"ok")

    server.application = record
    with session.httpx() as client:
        headers = [("X-Twice", "1"), ("X-Twice", "2"), ("Host", "example.invalid")]
        answer = client.post("/a%20b?c=d", headers=headers, content=b"body")
    assert (answer.status_code, answer.reason_phrase, answer.text) == (201, "Made", "ok")
    assert answer.headers.get_list("set-cookie") == ["a=1", "b=2"]
    # Whom a request is for is not the caller's to say.
    assert heard == [("/a%20b?c=d", server.url.removeprefix("https://"), ["1", "2"])]
    assert server.bodies == [b"body"]


def test_a_connection_is_used_again(session: AttestedSession, server: Server) -> None:
    with session.httpx() as client:
        for _ in range(3):
            assert client.post("/v1/completions", json={}).status_code == 200
    assert (server.attestations, server.handshakes) == (1, 1)


def test_a_piece_is_there_before_the_next_one_is_made(
    session: AttestedSession, server: Server
) -> None:
    application = OpenAiServer(server, waits=True)
    server.application = application
    with (
        session.httpx() as client,
        client.stream("POST", "/v1/completions", json=STREAM) as answer,
    ):
        for line in answer.iter_lines():
            if line:
                application.seen.release()
    assert line == ""
    assert answer.num_bytes_downloaded > len(WORDS)


def test_an_event_loop_goes_on_while_the_server_is_silent(
    session: AttestedSession, server: Server
) -> None:
    proceed = threading.Event()

    async def talk() -> int:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def hold() -> None:
            loop.call_soon_threadsafe(reached.set)
            _wait(proceed)

        server.attesting = hold
        async with session.async_httpx() as client:
            asked = asyncio.create_task(client.post("/v1/completions", json={}))
            await reached.wait()
            assert not asked.done()
            # Only this loop can let the server answer: it was not blocked by the attestation.
            proceed.set()
            return (await asked).status_code

    assert asyncio.run(talk()) == 200


def test_a_task_may_be_cancelled_before_the_head(session: AttestedSession, server: Server) -> None:
    """The guest learns of it at once: it may be busy with this answer alone."""
    gone = threading.Event()

    async def talk() -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def think(handler: BaseHTTPRequestHandler) -> None:
            loop.call_soon_threadsafe(reached.set)
            if handler.rfile.read(1) == b"":
                gone.set()

        server.application = think
        async with session.async_httpx() as client:
            task = asyncio.create_task(client.get("/"))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            server.application = OpenAiServer(server)
            assert (await client.get("/v1/models")).status_code == 200

    asyncio.run(talk())
    assert gone.wait(30)


def test_a_task_that_is_cancelled_while_the_guest_is_asked_for_evidence_sends_nothing(
    session: AttestedSession, server: Server
) -> None:
    proceed = threading.Event()

    async def talk() -> None:
        loop, reached = asyncio.get_running_loop(), asyncio.Event()

        def hold() -> None:
            loop.call_soon_threadsafe(reached.set)
            _wait(proceed)

        server.attesting = hold
        async with session.async_httpx() as client:
            task = asyncio.create_task(client.post("/", content=b"a secret"))
            await reached.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            proceed.set()

    asyncio.run(talk())
    # The next request waits for the evidence that the cancelled one has asked for.
    server.application = OpenAiServer(server)
    assert session.get("/v1/models").status_code == 200
    assert server.paths == ["/v1/models"]
    assert server.attestations == 1


def test_an_answer_that_comes_as_its_task_is_cancelled_is_let_go(session: AttestedSession) -> None:
    """The task is gone by the time at which the thread has the head."""
    handover = _Handover(session._carrier)
    handover._abandoned = True  # what `abandon` leaves behind when there is nothing to interrupt
    answer = handover.send(Outgoing(method="POST", target="/", headers=(), body=b""))
    with pytest.raises(NetworkError, match="closed before its end"):
        answer.read()


def test_an_answer_that_came_before_its_task_was_cancelled_is_let_go(
    session: AttestedSession,
) -> None:
    handover = _Handover(session._carrier)
    answer = handover.send(Outgoing(method="POST", target="/", headers=(), body=b""))
    handover.abandon()
    with pytest.raises(NetworkError, match="closed before its end"):
        answer.read()


def test_a_task_may_be_cancelled_in_the_middle(session: AttestedSession, server: Server) -> None:
    server.application = OpenAiServer(server, waits=True)

    async def talk() -> None:
        async with (
            session.async_httpx() as client,
            client.stream("POST", "/v1/completions", json=STREAM) as answer,
        ):
            lines = answer.aiter_lines()
            assert await anext(lines)
            assert await anext(lines) == ""
            rest = asyncio.ensure_future(anext(lines))
            await asyncio.sleep(0)
            rest.cancel()
            with pytest.raises(asyncio.CancelledError):
                await rest

    asyncio.run(talk())


def test_t4_a_compressed_answer_that_nobody_asked_for(
    session: AttestedSession, server: Server
) -> None:
    def compressed(handler: BaseHTTPRequestHandler) -> None:
        body = gzip.compress(b"x" * 1000)
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server.application = compressed
    with session.httpx() as client:
        with pytest.raises(FormatError) as caught:
            client.get("/")
        assert caught.value.code is Code.CHANNEL_ENCODING
        assert client.get("/", headers={"Accept-Encoding": "gzip"}).content == b"x" * 1000


def test_an_answer_that_breaks_off(session: AttestedSession, server: Server) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "9")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    server.application = break_off
    with session.httpx() as client, pytest.raises(NetworkError, match="not whole HTTP"):
        client.get("/")


def test_an_answer_that_does_not_come(session: AttestedSession, server: Server) -> None:
    proceed = threading.Event()
    server.application = lambda _: _wait(proceed)
    with session.httpx() as client, pytest.raises(NetworkError, match="within the time allowed"):
        client.get("/", timeout=httpx.Timeout(5, read=0.05))
    proceed.set()


@pytest.mark.parametrize("value", ["a secret\r\nX: y", "a secret \u20ac"])
def test_t5_a_header_that_cannot_be_sent(
    session: AttestedSession, server: Server, value: str
) -> None:
    headers = [(b"X", value.encode("utf-8"))]
    with session.httpx() as client, pytest.raises(UsageError) as caught:
        client.get("/", headers=headers)
    assert "secret" not in str(caught.value)
    assert server.application_bytes == 0


def test_a_client_ends_with_its_session(session: AttestedSession, server: Server) -> None:
    with session.httpx() as client:
        session.close()
        with pytest.raises(NetworkError, match="the session is closed"):
            client.get("/")
    assert server.application_bytes == 0


def test_without_the_extra(session: AttestedSession, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx", None)
    for make in (session.httpx, session.async_httpx):
        with pytest.raises(UsageError, match=r"pip install \"blindllama\[httpx\]\""):
            make()


def _wait(proceed: threading.Event) -> None:
    assert proceed.wait(30)
