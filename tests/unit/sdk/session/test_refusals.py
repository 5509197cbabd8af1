"""Whatever is refused, not one byte of the application was sent.

What a hostile server does to every transport is in test_hostile.py.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any

import pytest

from blindllama.errors import (
    BusyError,
    Code,
    NetworkError,
    VerificationError,
)
from blindllama.measurements import PlatformName
from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock, Nonces, new_session
from tests.simulators.attested_server import WORDS, Answer, Server
from tests.simulators.booted_guest import BootedGuest, encode, sha256, text
from tests.unit.sdk.session.conftest import OTHER_KEY, refused

Change = Callable[[dict[str, Any]], dict[str, Any]]


def changed(path: str, value: object) -> Change:
    def change(document: dict[str, Any]) -> dict[str, Any]:
        section, name = path.split(".")
        return {**document, section: {**document[section], name: value}}

    return change


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (changed("quote.signature", text(b"\0\x14\0\x0b\1\0" + bytes(256))), Code.QUOTE_SIGNATURE),
        (changed("quote.attest", text(b"\xffTCG\x80\x18")), Code.QUOTE_SIGNATURE),
        (changed("pcrs.sha256", ["00" * 32] * 16), Code.QUOTE_PCR_DIGEST),
        (changed("ak.intermediates", []), Code.AK_CHAIN_LENGTH),
        (changed("nonce_path.index", 1), Code.QUOTE_NONCE_PATH),
        (lambda document: {**document, "spki": text(OTHER_KEY.spki)}, Code.EVIDENCE_KEY),
        (lambda document: {**document, "version": 2}, Code.FORMAT_VERSION),
    ],
)
def test_changed_evidence(
    session: AttestedSession, server: Server, change: Change, code: Code
) -> None:
    server.answer = lambda document: Answer(body=encode(change(document)))
    refused(session, server, code)


def test_q3_an_answer_to_another_nonce(
    session: AttestedSession, server: Server, guest: BootedGuest
) -> None:
    stale = encode(guest.document(sha256(b"another session")))
    server.answer = lambda _: Answer(body=stale)
    refused(session, server, Code.QUOTE_NONCE)


def test_nonces_are_never_used_twice(server: Server, guest: BootedGuest) -> None:
    nonces, clock = Nonces(), Clock()
    with new_session(server.url, guest.papers.root, nonces=nonces, clock=clock) as session:
        seen = []
        for _ in range(3):
            session.get("/")
            seen.append(session.report.checks[5].detail["nonce"])
            clock.advance(hours=1)
    assert len(set(seen)) == nonces.count == 3


def test_c2_another_root(server: Server) -> None:
    with new_session(server.url, bytes(32)) as session:
        refused(session, server, Code.AK_UNKNOWN_ROOT)


def test_c3_a_simulation_under_a_production_policy(server: Server, guest: BootedGuest) -> None:
    azure = PlatformName.AZURE_TRUSTED_LAUNCH
    with new_session(server.url, guest.papers.root, platform=azure) as session:
        refused(session, server, Code.AK_SIMULATION_ROOT)


def test_another_release(session: AttestedSession, server: Server, guest: BootedGuest) -> None:
    guest.quoter.extend(4, sha256(b"another UKI"))
    refused(session, server, Code.MEASUREMENT_MISMATCH)


def test_t1_a_second_replica_attests_itself(
    session: AttestedSession, server: Server, guest: BootedGuest
) -> None:
    server.closes_after_answer = True
    session.completion("first")
    server.use_key(OTHER_KEY)
    server.attester = guest.with_key(OTHER_KEY.spki)
    assert session.completion("second") == "".join(WORDS)
    assert server.attestations == 2


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(body=b"{}", headers={}), Code.EVIDENCE_CONTENT_TYPE),
        (Answer(body=b"{}", status=400), Code.EVIDENCE_STATUS),
        (Answer(raw=b"SSH-2.0-x\r\n"), Code.EVIDENCE_STATUS),
        (Answer(body=b""), Code.FORMAT_NOT_JSON),
    ],
    ids=["no type", "400", "not HTTP", "empty"],
)
def test_t4_hostile_answers(
    session: AttestedSession, server: Server, answer: Answer, code: Code
) -> None:
    server.answer = lambda _: answer
    refused(session, server, code)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_t4_not_now(session: AttestedSession, server: Server, status: int) -> None:
    server.answer = lambda _: Answer(body=b"{}", status=status)
    with pytest.raises(NetworkError) as caught:
        session.completion("a secret")
    assert str(caught.value).endswith(f"evidence: the server answers {status}; try again later")
    assert isinstance(caught.value, BusyError) is (status in {429, 503})
    assert server.application_bytes == 0


@pytest.mark.parametrize("raw", [None, b"HTTP/1.1 200 x\r\n" + b"A" * 60000], ids=["body", "head"])
def test_t4_a_server_that_drips(server: Server, guest: BootedGuest, raw: bytes | None) -> None:
    server.answer = lambda document: Answer(body=encode(document), raw=raw, drip_s=0.02)
    with (
        new_session(server.url, guest.papers.root, timeout_s=0.3) as session,
        pytest.raises(NetworkError),
    ):
        session.completion("a secret")
    assert server.application_bytes == 0


def test_a_server_without_tls(guest: BootedGuest) -> None:
    with socket.create_server(("127.0.0.1", 0)) as plain:
        thread = threading.Thread(target=_speak_plainly, args=(plain,))
        thread.start()
        url = f"https://127.0.0.1:{plain.getsockname()[1]}"
        with (
            new_session(url, guest.papers.root) as session,
            pytest.raises(VerificationError) as caught,
        ):
            session.attest()
        thread.join()
    assert caught.value.code is Code.CHANNEL_TLS_VERSION


def _speak_plainly(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
