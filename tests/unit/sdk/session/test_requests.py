"""What a session does with a genuine guest, and when it asks for evidence again (T3)."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler

import pytest
import requests

from blindllama.errors import (
    BusyError,
    Code,
    FormatError,
    FreshnessError,
    NetworkError,
    UsageError,
    VerificationError,
)
from blindllama.report import Status
from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock, Stopwatch, new_session
from tests.simulators.attested_server import WORDS, Server
from tests.simulators.booted_guest import BootedGuest


def test_asks_after_attesting(session: AttestedSession, server: Server) -> None:
    session.attest()
    assert (server.attestations, server.application_bytes) == (1, 0)
    assert session.completion("The capital of France is") == "".join(WORDS)
    assert server.paths == ["/v1/completions"]
    # The attestation, the check and the request took one connection.
    assert (server.attestations, server.handshakes) == (1, 1)
    assert [check.status for check in session.report.checks[5:]] == [Status.PASSED] * 5


def test_a_request_attests_by_itself(session: AttestedSession, server: Server) -> None:
    assert session.completion("Once") == "".join(WORDS)
    assert server.attestations == 1


def test_the_stream_comes_piece_by_piece(session: AttestedSession, server: Server) -> None:
    proceed = threading.Event()

    def slowly(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        for line in (b'data: {"choices":[{"text":"one"}]}\n\n', b"data: [DONE]\n\n", b""):
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(line), line))
            handler.wfile.flush()
            proceed.wait(5)

    server.application = slowly
    pieces = session.stream_completion("Once")
    assert next(pieces) == "one"
    proceed.set()
    assert list(pieces) == []


def test_paths_and_urls_of_the_guest(session: AttestedSession, server: Server) -> None:
    assert session.post("/v1/completions", json={}).status_code == 200
    assert session.get(f"{server.url}/health?x=1").status_code == 200
    assert server.paths == ["/v1/completions", "/health?x=1"]
    assert session.url == server.url
    assert session.release.name == "simulated"


def test_t3_expired_evidence_is_renewed_on_the_same_connection(
    session: AttestedSession, server: Server, clock: Clock
) -> None:
    session.completion("first")
    clock.advance(seconds=299)
    session.completion("second")
    assert server.attestations == 1
    clock.advance(seconds=1)
    session.completion("third")
    assert (server.attestations, server.handshakes) == (2, 1)


def test_t3_a_pooled_connection_to_a_guest_that_changed(
    session: AttestedSession, server: Server, guest: BootedGuest, clock: Clock
) -> None:
    session.completion("first")
    before = server.application_bytes
    guest.quoter.extend(15, bytes(32))
    clock.advance(minutes=6)
    with pytest.raises(VerificationError) as caught:
        session.completion("a secret")
    assert caught.value.code is Code.MEASUREMENT_MISMATCH
    assert server.application_bytes == before


def test_t3_a_clock_that_went_back(session: AttestedSession, server: Server, clock: Clock) -> None:
    session.completion("first")
    clock.advance(seconds=-1)
    session.completion("second")
    assert server.attestations == 2


def test_t3_a_clock_that_was_stopped(
    session: AttestedSession, server: Server, elapsed: Stopwatch
) -> None:
    session.completion("first")
    elapsed.seconds += 299
    session.completion("second")
    assert server.attestations == 1
    elapsed.seconds += 1
    session.completion("third")
    assert server.attestations == 2


def test_t3_a_session_ends_with_its_release(
    session: AttestedSession, server: Server, clock: Clock
) -> None:
    session.completion("first")
    before = server.application_bytes
    clock.advance(days=1)
    with pytest.raises(FreshnessError) as caught:
        session.completion("a secret")
    assert caught.value.code is Code.RELEASE_EXPIRED
    assert caught.value.report is not None
    assert server.application_bytes == before


def test_t3_nothing_is_sent_twice(session: AttestedSession, server: Server) -> None:
    def vanish(handler: BaseHTTPRequestHandler) -> None:
        handler.close_connection = True

    server.application = vanish
    with pytest.raises(NetworkError):
        session.post("/v1/completions", data=b"a secret")
    assert server.paths == ["/v1/completions"]


def test_t3_a_connection_that_closes_after_the_evidence(
    session: AttestedSession, server: Server
) -> None:
    server.closes_after_evidence = True
    assert session.completion("first") == "".join(WORDS)
    assert (server.attestations, server.handshakes) == (1, 2)


def test_nobody_there(guest: BootedGuest) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
        with new_session(url, guest.papers.root) as session:
            for ask in (session.attest, lambda: session.get("/")):
                with pytest.raises(NetworkError) as caught:
                    ask()
                assert str(caught.value) == f"{url}: Connection refused"


def answering(
    status: int, body: bytes = b"", headers: Mapping[str, str] | None = None
) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in (headers or {}).items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_answers_that_are_no_completions(session: AttestedSession, server: Server) -> None:
    server.application = answering(500)
    with pytest.raises(NetworkError):
        session.completion("Once")
    server.application = answering(400, b'{"error":"a secret"}')
    with pytest.raises(UsageError) as caught:
        session.completion("Once")
    assert "secret" not in str(caught.value)
    server.application = answering(200, b'data: {"choices":[{"text":"whole"}]}\n\ndata: [DONE]\n\n')
    assert session.completion("Once") == "whole"


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("5", 5),
        ("0", 0),
        ("3600", 3600),
        ("9999", 3600),
        ("99999", None),
        ("-1", None),
        ("1.5", None),
        ("²", None),
        ("Sat, 28 Nov 2026 12:00:00 GMT", None),
        (None, None),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_guest_says_when_to_come_again(
    session: AttestedSession, server: Server, status: int, header: str | None, seconds: int | None
) -> None:
    server.application = answering(
        status, headers={} if header is None else {"Retry-After": header}
    )
    for ask in (lambda: session.completion("Once"), session.models):
        with pytest.raises(BusyError) as caught:
            ask()
        assert caught.value.retry_after == seconds
        when = "later" if seconds is None else f"in {seconds} s"
        assert str(caught.value).endswith(f"the server answers {status}; try again {when}")


def test_a_malformed_completion_has_a_report(session: AttestedSession, server: Server) -> None:
    server.application = answering(200, b"data: {}\n\n")
    with pytest.raises(FormatError) as caught:
        session.completion("Once")
    assert caught.value.code is Code.FORMAT_SCHEMA
    report = caught.value.report
    assert report is session.report
    assert report is not None
    assert report.failure is not None
    assert report.failure.step == 10


def test_an_answer_that_breaks_off(session: AttestedSession, server: Server) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"ff\r\ndata: ")
        handler.close_connection = True

    server.application = break_off
    with pytest.raises(NetworkError):
        session.completion("Once")


def test_t5_no_prompt_in_a_request_line(session: AttestedSession, server: Server) -> None:
    bodies: list[bytes] = []

    def record(handler: BaseHTTPRequestHandler) -> None:
        answering(200, b"data: [DONE]\n\n")(handler)
        bodies.append(handler.requestline.encode())

    server.application = record
    session.completion("a secret")
    assert all(b"secret" not in line for line in bodies)


def test_a_session_is_a_requests_session(session: AttestedSession) -> None:
    assert isinstance(session, requests.Session)
    assert session.trust_env is False
    assert json.loads(session.report.json_text())["version"] == 1
