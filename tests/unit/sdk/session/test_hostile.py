"""A hostile server against every transport: the right code, in time, and not a byte of the prompt.

Each row has its number of ATTACKS T1 to T4; T5 is in what every outcome asserts: no message holds
the prompt. `EARLY` strikes before anything was attested, `LATER` after a request that was answered.
"""

from __future__ import annotations

import http.client
import io
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from ssl import TLSVersion

import pytest

from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock, new_session
from tests.simulators.attested_server import Answer, Server
from tests.simulators.booted_guest import BootedGuest, encode, text
from tests.simulators.openai_server import OpenAiServer
from tests.simulators.relay import relaying
from tests.simulators.transports import ANSWERED, NETWORK, TRANSPORTS, outcome, path_of
from tests.unit.sdk.session.conftest import KEY, OTHER_KEY

JSON = {"Content-Type": "application/json"}
HEAD = b"HTTP/1.1 200 x\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
INTERIM = b"HTTP/1.1 100 x\r\nA: b\r\n\r\n"


class _Recorded:
    """Bytes in the place of a socket."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, _mode: str) -> io.BytesIO:
        return io.BytesIO(self._data)


def counts_heads() -> bool:
    """Whether this Python's http.client gives up after so many interim answers."""
    response = http.client.HTTPResponse(_Recorded(INTERIM * 5000 + HEAD + b"\r\n"))  # type: ignore[arg-type] # only makefile is called
    try:
        response.begin()
    except http.client.HTTPException:
        return True
    return False


each_transport = pytest.mark.parametrize("transport", TRANSPORTS)


@dataclass
class Scene:
    """What an attack may change."""

    server: Server
    guest: BootedGuest
    clock: Clock

    def answers(self, answer: Answer) -> None:
        self.server.answer = lambda _: answer


@dataclass(frozen=True, kw_only=True)
class Attack:
    """One way to be hostile, and the one right reaction."""

    strike: Callable[[Scene], None]
    code: str
    timeout_s: float = 20.0


def answer(code: str, made: Answer) -> Attack:
    return Attack(strike=lambda scene: scene.answers(made), code=code)


def relay(scene: Scene) -> None:
    scene.server.use_key(OTHER_KEY)


def relay_that_names_its_own_key(scene: Scene) -> None:
    scene.server.use_key(OTHER_KEY)
    scene.server.answer = lambda document: Answer(
        body=encode({**document, "spki": text(OTHER_KEY.spki)})
    )


def swap_keys_after_the_evidence(scene: Scene) -> None:
    """The first connection is the genuine guest's, and the next one is the attacker's."""
    scene.server.closes_after_evidence = True

    def genuine(document: dict[str, object]) -> Answer:
        scene.server.use_key(OTHER_KEY)
        return Answer(body=encode(document))

    scene.server.answer = genuine


def old_tls(scene: Scene) -> None:
    scene.server.context = KEY.context(TLSVersion.TLSv1_2)


def speak_first(scene: Scene) -> None:
    scene.server.greeting = HEAD + b"Content-Length: 2\r\n\r\n{}"


def half_close(scene: Scene) -> None:
    scene.server.half_closes = True


def drip(scene: Scene) -> None:
    scene.server.answer = lambda document: Answer(body=encode(document), drip_s=0.02)


EARLY = {
    "T1 relay": Attack(strike=relay, code="evidence.key"),
    "T1 relay that names its own key": Attack(
        strike=relay_that_names_its_own_key, code="quote.nonce_mismatch"
    ),
    "T1 keys swapped after the evidence": Attack(
        strike=swap_keys_after_the_evidence, code="evidence.key"
    ),
    "T1 TLS 1.2": Attack(strike=old_tls, code="channel.tls_version"),
    "T2 redirect": answer("evidence.status", Answer(status=307, headers={**JSON, "Location": "/"})),
    "T4 wrong content type": answer(
        "evidence.content_type", Answer(body=b"{}", headers={"Content-Type": "text/html"})
    ),
    "T4 compressed": answer(
        "evidence.content_type",
        Answer(body=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"}),
    ),
    "T4 huge": answer("format.too_large", Answer(body=b"[" * ((1 << 20) + 1))),
    "T4 endless chunk": answer(
        "format.too_large", Answer(raw=CHUNKED + b"ffffff\r\n" + b"[" * 0xFFFFFF)
    ),
    "T4 negative chunk": answer(
        "format.too_large", Answer(raw=CHUNKED + b"-1\r\n" + b"[" * (3 << 20))
    ),
    "T4 endless headers": answer("evidence.status", Answer(raw=HEAD + b"A: b\r\n" * 200)),
    "T4 endless heads": answer(
        # Newer Pythons count them and give up first.
        "evidence.status" if counts_heads() else "format.too_large",
        Answer(raw=INTERIM * 130_000),
    ),
    "T4 dies in the evidence": answer(
        "evidence.status", Answer(raw=HEAD + b"Content-Length: 9\r\n\r\n{}")
    ),
    "T4 answers before it is asked": Attack(strike=speak_first, code="format.version"),
    "T4 hangs up": answer(NETWORK, Answer(raw=b"")),
    "T4 half closed": Attack(strike=half_close, code=NETWORK),
    "T4 drips": Attack(strike=drip, code=NETWORK, timeout_s=0.3),
}


@each_transport
@pytest.mark.parametrize("attack", EARLY.values(), ids=EARLY)
def test_before_anything_was_attested(
    server: Server, guest: BootedGuest, clock: Clock, attack: Attack, transport: str
) -> None:
    attack.strike(Scene(server, guest, clock))
    with new_session(
        server.url, guest.papers.root, clock=clock, timeout_s=attack.timeout_s
    ) as session:
        assert outcome(TRANSPORTS[transport], session) == attack.code
    assert server.application_bytes == 0


def relay_comes_later(scene: Scene) -> None:
    scene.server.use_key(OTHER_KEY)


def guest_changes(scene: Scene) -> None:
    scene.guest.quoter.extend(15, bytes(32))
    scene.clock.advance(minutes=6)


def release_expires(scene: Scene) -> None:
    scene.clock.advance(days=1)


LATER = {
    "T1 relay comes later": Attack(strike=relay_comes_later, code="evidence.key"),
    "T3 the guest has changed": Attack(strike=guest_changes, code="measurement.mismatch"),
    "T3 the release has expired": Attack(strike=release_expires, code="release.expired"),
}


@each_transport
@pytest.mark.parametrize("attack", LATER.values(), ids=LATER)
def test_after_a_request_that_was_answered(
    session: AttestedSession,
    server: Server,
    guest: BootedGuest,
    clock: Clock,
    attack: Attack,
    transport: str,
) -> None:
    server.application = OpenAiServer(server)
    server.closes_after_answer = attack.strike is relay_comes_later
    assert outcome(TRANSPORTS[transport], session) == ANSWERED
    before = server.application_bytes
    attack.strike(Scene(server, guest, clock))
    assert outcome(TRANSPORTS[transport], session) == attack.code
    assert server.application_bytes == before


@each_transport
def test_t1_a_relay_in_front_of_a_genuine_guest(
    server: Server, guest: BootedGuest, transport: str
) -> None:
    with relaying(server.url) as between, new_session(between.url, guest.papers.root) as session:
        assert outcome(TRANSPORTS[transport], session) == "evidence.key"
        assert (between.attestations, between.application) == (1, [])
    assert (server.attestations, server.application_bytes) == (1, 0)


@each_transport
def test_t2_a_redirect_elsewhere_is_not_followed(
    session: AttestedSession, server: Server, transport: str
) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", "https://example.invalid/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.application = redirect
    assert outcome(TRANSPORTS[transport], session) == "channel.redirect"
    assert server.paths == [path_of(transport)]


@each_transport
def test_t3_a_guest_that_dies_in_its_answer_is_not_asked_again(
    session: AttestedSession, server: Server, transport: str
) -> None:
    def die(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"ff\r\ndata: ")
        handler.close_connection = True

    server.application = die
    assert outcome(TRANSPORTS[transport], session) == NETWORK
    assert server.paths == [path_of(transport)]


@each_transport
def test_t2_the_environment_changes_nothing(
    session: AttestedSession, server: Server, transport: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nowhere = "http://127.0.0.1:9"
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, nowhere)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "NETRC"):
        monkeypatch.setenv(name, "/missing")
    monkeypatch.setenv("OPENAI_BASE_URL", f"{nowhere}/v1")
    server.application = OpenAiServer(server)
    assert outcome(TRANSPORTS[transport], session) == ANSWERED
    assert server.paths == [path_of(transport)]
