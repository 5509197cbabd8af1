"""The local proxy: what it passes on, whom it serves, and that it serves nothing unverified."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest

from blindllama._proxy_error import refusal
from blindllama.errors import UsageError
from blindllama.proxy import Proxy
from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock
from tests.simulators.attested_server import WORDS, Server
from tests.simulators.booted_guest import BootedGuest
from tests.simulators.openai_server import MODEL, OpenAiServer
from tests.simulators.software_ak import SoftwareQuoter
from tests.unit.sdk.session.conftest import OTHER_KEY

TIMEOUT_S = 10
COMPLETIONS = "/v1/completions"
ASK = {"Content-Type": "application/json"}
EVERYWHERE = "0.0.0.0"  # noqa: S104 - what must be refused, unless it is meant


@dataclass
class Running:
    """A proxy that serves, and what it has logged."""

    proxy: Proxy
    log: list[str] = field(default_factory=list)

    def ask(
        self, method: str, path: str, body: bytes | None = None, **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """The status, headers and body of the answer to one request."""
        connection = http.client.HTTPConnection(self.authority, timeout=TIMEOUT_S)
        try:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            connection.request(method, path, body=body, headers=named)
            answer = connection.getresponse()
            return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()
        finally:
            connection.close()

    def raw(self, data: bytes) -> bytes:
        """Everything that comes back for the bytes given."""
        address = urlsplit(self.proxy.url)
        with socket.create_connection((address.hostname, address.port), TIMEOUT_S) as connection:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(4096), b""))

    @property
    def authority(self) -> str:
        return urlsplit(self.proxy.url).netloc


@contextmanager
def serving(
    session: AttestedSession, *, host: str = "127.0.0.1", allow_remote: bool = False
) -> Iterator[Running]:
    log: list[str] = []
    with session.proxy(host=host, log=log.append, allow_remote=allow_remote) as proxy:
        thread = threading.Thread(target=proxy.serve)
        thread.start()
        try:
            yield Running(proxy, log)
        finally:
            proxy.stop()
            thread.join()


@pytest.fixture
def running(session: AttestedSession) -> Iterator[Running]:
    with serving(session) as made:
        yield made


def error(body: bytes) -> dict[str, Any]:
    told = json.loads(body)["error"]
    assert isinstance(told, dict)
    return told


def test_a_stock_client_that_knows_nothing_of_all_this(running: Running, server: Server) -> None:
    application = OpenAiServer(server)
    server.application = application
    with openai.OpenAI(base_url=f"{running.proxy.url}/v1", api_key="x", max_retries=0) as client:
        assert client.models.list().data[0].id == MODEL
        answer = client.completions.create(model=MODEL, prompt="Once")
        assert answer.choices[0].text == "".join(WORDS)
        application.waits = True
        words = []
        for event in client.completions.create(model=MODEL, prompt="Once", stream=True):
            # The server makes the next one only now.
            words.append(event.choices[0].text)
            application.seen.release()
    assert words == list(WORDS)
    assert server.attestations == 1


def test_method_path_headers_and_body_arrive(running: Running, server: Server) -> None:
    heard: dict[str, Any] = {}

    def record(handler: BaseHTTPRequestHandler) -> None:
        heard.update(command=handler.command, path=handler.path, headers=dict(handler.headers))
        handler.send_response(201, "Made")
        handler.send_header("Content-Length", "2")
        handler.send_header("X-Kept", "yes")
        handler.send_header("Access-Control-Allow-Origin", "*")
        handler.send_header("Keep-Alive", "timeout=5")
        handler.end_headers()
        handler.wfile.write(b"ok")

    server.application = record
    status, headers, body = running.ask(
        "POST",
        "/v1/x%20y?z=1",
        b"body",
        Authorization="Bearer x",
        Connection="X-Hop, close",
        X_Hop="1",
        TE="trailers",
        Accept_Encoding="gzip",
        Referer="http://127.0.0.1/secret",
    )
    assert (status, body, headers["x-kept"]) == (201, b"ok", "yes")
    assert "access-control-allow-origin" not in headers
    assert "keep-alive" not in headers
    assert (heard["command"], heard["path"]) == ("POST", "/v1/x%20y?z=1")
    assert server.bodies == [b"body"]
    sent = {name.lower(): value for name, value in heard["headers"].items()}
    assert sent["authorization"] == "Bearer x"
    assert sent["host"] == server.url.removeprefix("https://")
    assert sent["accept-encoding"] == "identity"
    assert not {"connection", "x-hop", "te", "referer"} & set(sent)


def test_a_connection_serves_several_requests(running: Running, server: Server) -> None:
    server.application = OpenAiServer(server)
    connection = http.client.HTTPConnection(running.authority, timeout=TIMEOUT_S)
    for _ in range(3):
        connection.request("GET", "/v1/models")
        assert json.loads(connection.getresponse().read())["data"][0]["id"] == MODEL
    connection.close()
    assert (server.attestations, server.handshakes) == (1, 1)


def test_t1_nothing_is_served_while_the_guest_is_another(running: Running, server: Server) -> None:
    server.use_key(OTHER_KEY)
    status, headers, body = running.ask("POST", COMPLETIONS, b'{"prompt":"a secret"}', **ASK)
    told = error(body)
    assert (status, told["code"], told["step"]) == (503, "evidence.key", 6)
    assert headers["x-should-retry"] == "false"
    assert server.application_bytes == 0
    assert running.log == [f"POST {COMPLETIONS} 503 {told['message']}"]


def test_t3_a_guest_that_changed_is_refused_and_one_that_is_back_is_served(
    running: Running, server: Server, guest: BootedGuest, clock: Clock
) -> None:
    assert running.ask("POST", COMPLETIONS, b"{}")[0] == 200
    before = server.application_bytes
    assert isinstance(guest.quoter, SoftwareQuoter)
    genuine = dict(guest.quoter.registers)
    guest.quoter.extend(15, bytes(32))
    clock.advance(hours=1)
    status, _, body = running.ask("POST", COMPLETIONS, b'{"prompt":"a secret"}')
    assert (status, error(body)["code"]) == (503, "measurement.mismatch")
    assert server.application_bytes == before
    guest.quoter.registers = genuine
    assert running.ask("POST", COMPLETIONS, b"{}")[0] == 200


def test_t3_a_release_that_expired(running: Running, server: Server, clock: Clock) -> None:
    clock.advance(days=1)
    status, _, body = running.ask("POST", COMPLETIONS, b"{}")
    assert (status, error(body)["code"], error(body)["step"]) == (503, "release.expired", 4)
    assert server.application_bytes == 0


def test_t2_a_redirect_elsewhere_is_not_passed_on(running: Running, server: Server) -> None:
    def redirect(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(307)
        handler.send_header("Location", "https://example.invalid/")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.application = redirect
    status, _, body = running.ask("POST", COMPLETIONS, b"{}")
    assert (status, error(body)["code"]) == (503, "channel.redirect")


def test_a_guest_that_is_not_there(session: AttestedSession, running: Running) -> None:
    session.close()
    status, _, body = running.ask("GET", "/v1/models")
    assert (status, error(body)["code"]) == (502, "network")


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Origin": "https://example.com"}, 403, "proxy.web_page"),
        ({"Origin": "null"}, 403, "proxy.web_page"),
        ({"Sec_Fetch_Site": "cross-site"}, 403, "proxy.web_page"),
        ({"Sec_Fetch_Site": "same-origin"}, 403, "proxy.web_page"),
        ({"Host": "rebound.example"}, 421, "proxy.host"),
        ({"Host": "127.0.0.1.example:8080"}, 421, "proxy.host"),
        ({"Host": "localhost.example"}, 421, "proxy.host"),
        ({"Host": ""}, 421, "proxy.host"),
    ],
)
def test_t2_web_pages_are_not_served(
    running: Running, server: Server, headers: dict[str, str], status: int, code: str
) -> None:
    answered, answer_headers, body = running.ask("POST", COMPLETIONS, b"{}", **headers)
    assert (answered, error(body)["code"]) == (status, code)
    assert not [name for name in answer_headers if name.startswith("access-control")]
    assert (server.attestations, server.application_bytes) == (0, 0)


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1", "[::1]:8080"])
def test_names_that_nobody_else_can_point_here(running: Running, host: str) -> None:
    assert running.ask("POST", COMPLETIONS, b"{}", Host=host)[0] == 200


def test_t2_a_preflight_gets_no_leave(running: Running, server: Server) -> None:
    status, headers, _ = running.ask("OPTIONS", COMPLETIONS, Origin="https://example.com")
    assert status == 403
    assert not [name for name in headers if name.startswith("access-control")]
    assert server.application_bytes == 0


HEAD = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411, "proxy.length"),
        (HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, "proxy.length"),
        (HEAD + b"Content-Length: +1\r\n\r\nx", 400, "proxy.length"),
        (HEAD + b"Content-Length: -1\r\n\r\nx", 400, "proxy.length"),
        (HEAD + b"Content-Length: 99999999\r\n\r\n", 413, "proxy.too_large"),
        (HEAD + b"Host: localhost\r\n\r\n", 421, "proxy.host"),
        (HEAD + b"X: folded\r\n over two lines\r\n\r\n", 400, "proxy.header"),
        (b"GET http://example.invalid/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "proxy.target"),
        (b"GET * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "proxy.target"),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, "proxy.target"),
        (b"GET / HTTP/1.1\r\nA: b\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, "proxy.http"),
        (b"GET /" + b"x" * 70000 + b" HTTP/1.1\r\n\r\n", 414, "proxy.http"),
        (b"nonsense\r\n\r\n", 400, "proxy.http"),
    ],
    ids=[
        "chunked",
        "two lengths",
        "signed length",
        "negative length",
        "too large",
        "two hosts",
        "folded header",
        "absolute",
        "asterisk",
        "not ASCII",
        "header flood",
        "long line",
        "not HTTP",
    ],
)
def test_t4_requests_that_can_be_read_in_two_ways(
    running: Running, server: Server, request_: bytes, status: int, code: str
) -> None:
    head, _, body = running.raw(request_).partition(b"\r\n\r\n")
    assert (error(body)["code"], b"HTTP/1.1 %d " % status in head) == (code, True)
    assert (server.attestations, server.application_bytes) == (0, 0)


def test_a_refusal_without_a_body(running: Running, server: Server) -> None:
    status, headers, body = running.ask("HEAD", COMPLETIONS, Origin="null")
    assert (status, headers["content-type"], body) == (403, "application/json", b"")
    assert server.application_bytes == 0


def test_a_request_that_cannot_be_made_is_the_program_s_fault() -> None:
    told = refusal(UsageError("request that cannot be made"))
    assert (told.status, told.code, told.kind) == (400, "usage", "invalid_request_error")


def test_a_program_that_goes_away_in_the_middle(running: Running, server: Server) -> None:
    assert running.raw(HEAD + b"Content-Length: 9\r\n\r\nhalf") == b""
    assert server.application_bytes == 0
    assert running.ask("POST", COMPLETIONS, b"{}")[0] == 200


def test_a_program_that_goes_away_ends_the_answer(running: Running, server: Server) -> None:
    """The guest learns of it: it may be busy with this answer alone."""
    gone = threading.Event()

    def talk(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"4\r\nmore\r\n")
        except OSError:
            gone.set()

    server.application = talk
    address = urlsplit(running.proxy.url)
    with socket.create_connection((address.hostname, address.port), TIMEOUT_S) as connection:
        connection.sendall(HEAD + b"Content-Length: 0\r\n\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
    assert gone.wait(30)


def test_an_answer_that_breaks_off_has_no_end(running: Running, server: Server) -> None:
    def break_off(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        handler.wfile.write(b"4\r\nhalf\r\n")
        handler.close_connection = True

    server.application = break_off
    answer = running.raw(HEAD + b"Content-Length: 0\r\n\r\n")
    assert answer.endswith(b"4\r\nhalf\r\n")
    assert "broke off" in running.log[-1]


def test_older_programs_and_questions_without_an_answer(running: Running, server: Server) -> None:
    whole = running.raw(b"POST /v1/completions HTTP/1.0\r\nHost: localhost\r\n\r\n")
    assert whole.endswith(b"data: [DONE]\n\n")
    assert b"chunked" not in whole.lower()

    def nothing(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(204)
        handler.end_headers()

    server.application = nothing
    assert running.ask("GET", "/")[0] == 204


def test_t5_the_log_holds_no_prompt(running: Running, server: Server) -> None:
    server.application = OpenAiServer(server)
    running.ask("POST", f"{COMPLETIONS}?q=secret", b'{"prompt":"a secret"}', X_Note="secret")
    assert running.log == [f"POST {COMPLETIONS} 200"]


@pytest.mark.parametrize("host", ["localhost", "example.com", "", EVERYWHERE, "192.0.2.1", "::"])
def test_it_listens_on_this_machine_only(session: AttestedSession, host: str) -> None:
    with pytest.raises(UsageError, match="address to listen at"):
        session.proxy(host=host)


def test_other_machines_may_be_let_in(session: AttestedSession) -> None:
    with serving(session, host=EVERYWHERE, allow_remote=True) as running:
        port = urlsplit(running.proxy.url).port
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
        connection.request("POST", COMPLETIONS, body=b"{}")
        assert connection.getresponse().status == 200
        connection.close()


def test_a_port_that_is_taken(session: AttestedSession) -> None:
    with session.proxy() as first:
        port = urlsplit(first.url).port
        assert port is not None
        with pytest.raises(UsageError, match="listening at"):
            session.proxy(port=port)


def test_ipv6(session: AttestedSession) -> None:
    with serving(session, host="::1") as running:
        assert running.proxy.url.startswith("http://[::1]:")
        assert running.ask("POST", COMPLETIONS, b"{}")[0] == 200
