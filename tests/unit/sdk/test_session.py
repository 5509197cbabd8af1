"""Step 10 and the attacks T1 to T4, against a real TLS server on loopback.

The server's attestation key is software: what only a TPM can show is in test_swtpm.py. Whatever
is refused, the server must not have seen one byte of the application.
"""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from ssl import TLSVersion
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from blindllama.errors import (
    ChannelBindingError,
    Code,
    FreshnessError,
    NetworkError,
    UsageError,
    VerificationError,
)
from blindllama.measurements import PlatformName
from blindllama.report import Status
from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock, Nonces, new_session
from tests.simulators.attested_server import WORDS, Answer, Server, TlsKey, attested_server
from tests.simulators.booted_guest import BootedGuest, Papers, boot, encode, sha256, text
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

AK = SoftwareAk.make_rsa()
KEY, OTHER_KEY = TlsKey(), TlsKey()


@pytest.fixture
def guest() -> BootedGuest:
    quoter = SoftwareQuoter(ak=AK)
    boot(quoter)
    return BootedGuest(quoter=quoter, papers=Papers.of(quoter), spki=KEY.spki)


@pytest.fixture
def server(guest: BootedGuest) -> Iterator[Server]:
    with attested_server(guest, KEY) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def session(server: Server, guest: BootedGuest, clock: Clock) -> Iterator[AttestedSession]:
    with new_session(server.url, guest.papers.root, clock=clock) as made:
        yield made


def refused(session: AttestedSession, server: Server, code: Code) -> VerificationError:
    """Check the refusal of a first connection: its code, its report, and the server's silence."""
    with pytest.raises(VerificationError) as caught:
        session.attest()
    assert caught.value.code is code
    assert caught.value.report is not None
    assert caught.value.report is session.report
    failure = caught.value.report.failure
    assert failure is not None
    assert (failure.step, failure.detail["code"]) == (caught.value.step, code.value)
    assert server.application_bytes == 0
    with pytest.raises(VerificationError) as again:
        session.completion("a secret")
    assert again.value.code is code
    assert server.application_bytes == 0
    return caught.value


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


def test_t1_a_relay_with_its_own_key(session: AttestedSession, server: Server) -> None:
    # Its evidence is genuine, fresh, and about the guest's key.
    server.use_key(OTHER_KEY)
    refused(session, server, Code.EVIDENCE_KEY)


def test_t1_a_relay_that_names_its_own_key(session: AttestedSession, server: Server) -> None:
    server.use_key(OTHER_KEY)
    server.answer = lambda document: Answer(body=encode({**document, "spki": text(OTHER_KEY.spki)}))
    refused(session, server, Code.QUOTE_NONCE)


def test_t1_a_relay_that_comes_later(session: AttestedSession, server: Server) -> None:
    server.closes_after_answer = True
    session.completion("first")
    before = server.application_bytes
    server.use_key(OTHER_KEY)
    with pytest.raises(ChannelBindingError) as caught:
        session.completion("a secret")
    assert caught.value.code is Code.EVIDENCE_KEY
    assert server.application_bytes == before


def test_t1_a_second_replica_attests_itself(
    session: AttestedSession, server: Server, guest: BootedGuest
) -> None:
    server.closes_after_answer = True
    session.completion("first")
    server.use_key(OTHER_KEY)
    server.attester = guest.with_key(OTHER_KEY.spki)
    assert session.completion("second") == "".join(WORDS)
    assert server.attestations == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://guest", "guest:443", "//guest"])
def test_t2_only_https(url: str) -> None:
    with pytest.raises(ChannelBindingError) as caught:
        new_session(url, bytes(32))
    assert caught.value.code is Code.CHANNEL_NOT_HTTPS


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://a@b",
        "https://a:x",
        "https://[a",
    ],
)
def test_t2_a_url_names_a_server_and_nothing_else(url: str) -> None:
    with pytest.raises(UsageError):
        new_session(url, bytes(32))


@pytest.mark.parametrize(
    "other",
    [
        "https://example.invalid/",
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.0.0.1:8443@example.invalid/",
        "ftp://127.0.0.1/",
    ],
)
def test_t2_the_session_is_for_one_origin(
    session: AttestedSession, server: Server, other: str
) -> None:
    session.attest()
    with pytest.raises(ChannelBindingError) as caught:
        session.post(other, data=b"a secret")
    assert caught.value.code is Code.CHANNEL_ORIGIN
    assert caught.value.report is not None
    assert server.application_bytes == 0


def redirecting(target: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        elsewhere = handler.path != "/end"
        handler.send_response(307 if elsewhere else 200)
        if elsewhere:
            handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.mark.parametrize(
    "target", ["https://example.invalid/", "//example.invalid/", "http://127.0.0.1/"]
)
def test_t2_redirects_lead_nowhere_else(
    session: AttestedSession, server: Server, target: str
) -> None:
    server.application = redirecting(target)
    with pytest.raises(ChannelBindingError) as caught:
        session.post("/start", data=b"a secret")
    assert caught.value.code is Code.CHANNEL_REDIRECT
    assert server.paths == ["/start"]


def test_t2_redirects_on_the_guest_are_followed(session: AttestedSession, server: Server) -> None:
    server.application = redirecting("/end")
    assert session.post("/start", data=b"x").status_code == 200
    assert server.paths == ["/start", "/end"]


def test_t2_the_environment_changes_nothing(
    session: AttestedSession, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each of these would break or divert an ordinary session.
    nowhere = "http://127.0.0.1:9"
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, nowhere)
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    def record(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Authorization"))
        handler.send_response(204)
        handler.end_headers()

    server.application = record
    assert session.get("/").status_code == 204
    assert seen == [None]
    assert not log.exists()


def test_t2_proxies_and_adapters_are_refused(session: AttestedSession, server: Server) -> None:
    proxies = {"https": "http://127.0.0.1:9"}
    with pytest.raises(UsageError):
        session.get("/", proxies=proxies)
    with pytest.raises(UsageError):
        session.mount("https://", HTTPAdapter())
    session.proxies = proxies
    with pytest.raises(UsageError):
        session.get("/")
    assert server.application_bytes == 0


def test_t2_certificates_have_no_part_in_it(session: AttestedSession, server: Server) -> None:
    assert session.get("/", verify=False).status_code == 200
    assert session.get("/", verify=True).status_code == 200
    assert server.attestations == 1


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


def test_threads_share_one_attestation(session: AttestedSession, server: Server) -> None:
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(session.completion, ["prompt"] * 8))
    assert answers == ["".join(WORDS)] * 8
    assert server.attestations == 1


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (Answer(body=b"{}", headers={"Content-Type": "text/html"}), Code.EVIDENCE_CONTENT_TYPE),
        (Answer(body=b"{}", headers={}), Code.EVIDENCE_CONTENT_TYPE),
        (Answer(headers={**JSON, "Content-Encoding": "gzip"}), Code.EVIDENCE_CONTENT_TYPE),
        (Answer(body=b"x" * (1 << 20) + b"y"), Code.FORMAT_TOO_LARGE),
        (Answer(body=b"{}", status=400), Code.EVIDENCE_STATUS),
        (Answer(body=b"{}", status=302, headers={**JSON, "Location": "/"}), Code.EVIDENCE_STATUS),
        (Answer(raw=b"SSH-2.0-x\r\n"), Code.EVIDENCE_STATUS),
        (Answer(raw=b"HTTP/1.1 200 x\r\n" + b"A: b\r\n" * 200), Code.EVIDENCE_STATUS),
        (
            Answer(
                raw=b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\nContent-Length: 9\r\n\r\n{}"
            ),
            Code.EVIDENCE_STATUS,
        ),
        (
            Answer(
                raw=b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n"
                b"Transfer-Encoding: chunked\r\n\r\nffffff\r\n" + b"[" * 0xFFFFFF
            ),
            Code.FORMAT_TOO_LARGE,
        ),
        (Answer(body=b""), Code.FORMAT_NOT_JSON),
    ],
    ids=[
        "html",
        "no type",
        "compressed",
        "too large",
        "400",
        "redirect",
        "not HTTP",
        "header flood",
        "short",
        "endless chunk",
        "empty",
    ],
)
def test_t4_hostile_answers(
    session: AttestedSession, server: Server, answer: Answer, code: Code
) -> None:
    server.answer = lambda _: answer
    refused(session, server, code)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_t4_not_now(session: AttestedSession, server: Server, status: int) -> None:
    server.answer = lambda _: Answer(body=b"{}", status=status)
    with pytest.raises(NetworkError):
        session.completion("a secret")
    assert server.application_bytes == 0


def test_t4_a_server_that_hangs_up(session: AttestedSession, server: Server) -> None:
    server.answer = lambda _: Answer(raw=b"")
    with pytest.raises(NetworkError):
        session.completion("a secret")
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


def test_tls_1_2_is_refused(session: AttestedSession, server: Server) -> None:
    server.context = KEY.context(TLSVersion.TLSv1_2)
    refused(session, server, Code.CHANNEL_TLS_VERSION)


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


def test_nobody_there(guest: BootedGuest) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
        with new_session(url, guest.papers.root) as session:
            with pytest.raises(NetworkError):
                session.attest()
            with pytest.raises(NetworkError):
                session.get("/")


def answering(status: int, body: bytes = b"") -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


def test_answers_that_are_no_completions(session: AttestedSession, server: Server) -> None:
    server.application = answering(503)
    with pytest.raises(NetworkError):
        session.completion("Once")
    server.application = answering(400, b'{"error":"a secret"}')
    with pytest.raises(UsageError) as caught:
        session.completion("Once")
    assert "secret" not in str(caught.value)
    server.application = answering(200, b'data: {"choices":[{"text":"whole"}]}\n\ndata: [DONE]\n\n')
    assert session.completion("Once") == "whole"


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
