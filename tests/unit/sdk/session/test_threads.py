"""Threads share one session: one attestation for all, no answer of another, nobody left waiting."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler

import pytest

from blindllama.errors import Code, NetworkError, VerificationError
from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock, new_session
from tests.simulators.attested_server import WORDS, Answer, Server
from tests.simulators.booted_guest import BootedGuest

THREADS = 16
ROUNDS = 3


def echo(handler: BaseHTTPRequestHandler) -> None:
    """Answer with the path, which says who asked."""
    body = json.dumps({"path": handler.path}).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def test_threads_share_one_attestation(session: AttestedSession, server: Server) -> None:
    with ThreadPoolExecutor(THREADS) as pool:
        answers = list(pool.map(session.completion, ["prompt"] * THREADS))
    assert answers == ["".join(WORDS)] * THREADS
    assert server.attestations == 1


def test_t3_threads_renew_once_when_evidence_expires_between_requests(
    session: AttestedSession, server: Server, clock: Clock
) -> None:
    server.application = echo

    def expire() -> None:
        clock.advance(hours=1)

    between = threading.Barrier(THREADS, action=expire, timeout=30)

    def ask(thread: int) -> list[str]:
        heard = []
        for turn in range(ROUNDS):
            heard.append(session.get(f"/{thread}/{turn}").json()["path"])
            between.wait()
        return heard

    with ThreadPoolExecutor(THREADS) as pool:
        heard = list(pool.map(ask, range(THREADS)))
    assert heard == [[f"/{thread}/{turn}" for turn in range(ROUNDS)] for thread in range(THREADS)]
    assert server.attestations == ROUNDS
    # A connection for each thread at most: a renewal needs no new one.
    assert server.handshakes <= THREADS


def test_t3_every_thread_is_refused_when_the_guest_has_changed(
    session: AttestedSession, server: Server, guest: BootedGuest, clock: Clock
) -> None:
    session.completion("first")
    before = server.application_bytes
    guest.quoter.extend(15, bytes(32))
    clock.advance(hours=1)

    def ask(_: int) -> Code:
        with pytest.raises(VerificationError) as caught:
            session.completion("a secret")
        assert caught.value.report is not None
        return caught.value.code

    with ThreadPoolExecutor(THREADS) as pool:
        codes = list(pool.map(ask, range(THREADS)))
    assert codes == [Code.MEASUREMENT_MISMATCH] * THREADS
    assert server.application_bytes == before


def test_nobody_waits_for_the_evidence_of_all_others(server: Server, guest: BootedGuest) -> None:
    """While others ask, a thread gives up after its own time, however many stand before it."""
    with new_session(server.url, guest.papers.root, timeout_s=0.2) as session:
        with (
            session._attestor._lock,  # as long as somebody's exchange lasts
            pytest.raises(NetworkError, match="keeps another request for it waiting"),
        ):
            session.completion("a secret")
        assert (server.attestations, server.application_bytes) == (0, 0)
        assert session.completion("first") == "".join(WORDS)


def test_a_session_may_be_closed_while_others_use_it(
    session: AttestedSession, server: Server
) -> None:
    server.answer = lambda document: Answer(body=json.dumps(document).encode())
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(session.completion, "prompt") for _ in range(8)]
        session.close()
        for one in asked:
            # Answered before or after: a closed session says so, and nothing hangs.
            error = one.exception(timeout=30)
            assert error is None or isinstance(error, NetworkError)
