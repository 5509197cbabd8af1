"""Connections that end, or say too much: opened again only while nothing was sent on them."""

from __future__ import annotations

import gzip
import io
import json
from http.server import BaseHTTPRequestHandler

import pytest

from blindllama.errors import Code, FormatError, NetworkError
from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock
from tests.simulators.attested_server import WORDS, Answer, Server

FORGED = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged"


def test_t3_a_connection_that_closes_instead_of_renewing(
    session: AttestedSession, server: Server, clock: Clock
) -> None:
    """No byte of the application is lost with it, so another connection is tried."""
    session.completion("first")
    clock.advance(hours=1)
    genuine = server.answer

    def vanish_once(document: dict[str, object]) -> Answer:
        server.answer = genuine
        return Answer(raw=b"")

    server.answer = vanish_once
    assert session.completion("second") == "".join(WORDS)
    assert (server.attestations, server.handshakes) == (3, 2)
    assert server.paths == ["/v1/completions"] * 2


def test_t3_a_server_that_never_renews(
    session: AttestedSession, server: Server, clock: Clock
) -> None:
    session.completion("first")
    before = server.application_bytes
    clock.advance(hours=1)
    server.answer = lambda _: Answer(raw=b"")
    with pytest.raises(NetworkError, match="closed the connection"):
        session.completion("a secret")
    # One try on the old connection and one on a new one.
    assert (server.attestations, server.handshakes) == (3, 2)
    assert server.application_bytes == before


def test_t4_what_follows_the_evidence_is_no_answer(
    session: AttestedSession, server: Server
) -> None:
    server.postscript = FORGED
    assert session.completion("first") == "".join(WORDS)
    assert (server.attestations, server.handshakes) == (1, 2)


def test_t4_an_answer_before_the_question(session: AttestedSession, server: Server) -> None:
    server.greeting = FORGED
    with pytest.raises(FormatError) as caught:
        session.completion("a secret")
    assert caught.value.code is Code.EVIDENCE_CONTENT_TYPE
    assert server.application_bytes == 0


def test_t4_an_answer_that_waits_in_the_connection(
    session: AttestedSession, server: Server
) -> None:
    # In one record, so that all of it is there at once.
    record = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ngenuine" + FORGED * 200

    def answer_twice(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(record)

    server.application = answer_twice
    assert session.get("/").content == b"genuine"
    assert session.get("/").content == b"genuine"
    # What a reader does not take at once waits inside the TLS layer, and ends the connection. Since
    # Python 3.14 it takes the whole record, and what is too much goes with the answer.
    waits = len(record) > io.DEFAULT_BUFFER_SIZE
    assert (server.attestations, server.handshakes) == (1, 2 if waits else 1)


def compressed(handler: BaseHTTPRequestHandler) -> None:
    body = gzip.compress(json.dumps({"answer": "x" * 1000}).encode())
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_t4_a_compressed_answer_that_nobody_asked_for(
    session: AttestedSession, server: Server
) -> None:
    server.application = compressed
    with pytest.raises(FormatError) as caught:
        session.get("/")
    assert caught.value.code is Code.CHANNEL_ENCODING
    assert caught.value.report is not None
    asked = session.get("/", headers={"Accept-Encoding": "gzip"})
    assert asked.json() == {"answer": "x" * 1000}
