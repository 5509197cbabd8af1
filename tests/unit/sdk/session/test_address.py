"""A guest reached by its address: its name stays in every request, and trust is where it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler

import pytest

from blindllama._channel import parse_address
from blindllama.errors import ChannelBindingError, Code, NetworkError, UsageError
from blindllama.session import AttestedSession, verify_and_connect
from tests.simulators.attested_client import new_session
from tests.simulators.attested_server import WORDS, Server, TlsKey
from tests.simulators.booted_guest import BootedGuest

NAME = "guest.invalid"
"""Never resolves (RFC 6761, section 6.4)."""


@pytest.fixture
def url(server: Server) -> str:
    return server.url.replace("127.0.0.1", NAME)


@pytest.fixture
def named(url: str, guest: BootedGuest) -> Iterator[AttestedSession]:
    with new_session(url, guest.papers.root, address="127.0.0.1") as session:
        yield session


@pytest.mark.parametrize("carry", ["requests", "httpx", "openai"])
def test_requests_name_the_host_and_go_to_the_address(
    named: AttestedSession, server: Server, url: str, carry: str
) -> None:
    hosts: list[str | None] = []

    def record(handler: BaseHTTPRequestHandler) -> None:
        hosts.append(handler.headers.get("Host"))
        assert len(handler.headers.get_all("Host") or []) == 1
        handler.send_response(200)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", "2")
        handler.end_headers()
        handler.wfile.write(b"{}")

    server.application = record
    send: dict[str, Callable[[], object]] = {
        "requests": lambda: named.get("/x"),
        "httpx": lambda: named.httpx().get("/x"),
        "openai": named.openai().models.with_raw_response.list,
    }
    send[carry]()
    assert hosts == [url.removeprefix("https://")]
    assert server.attestations == 1


def test_the_name_is_what_tls_says(named: AttestedSession, server: Server) -> None:
    said: list[str | None] = []
    assert server.context is not None
    server.context.sni_callback = lambda _socket, name, _context: said.append(name)
    assert named.completion("first") == "".join(WORDS)
    assert said == [NAME]


def test_whoever_answers_at_the_address_must_be_attested(
    named: AttestedSession, server: Server
) -> None:
    server.use_key(TlsKey())
    with pytest.raises(ChannelBindingError) as caught:
        named.completion("a secret")
    assert caught.value.code is Code.EVIDENCE_KEY
    assert server.application_bytes == 0


def test_the_session_is_still_for_the_name(named: AttestedSession, server: Server) -> None:
    with pytest.raises(ChannelBindingError) as caught:
        named.post(f"{server.url}/x", data=b"a secret")  # the address itself
    assert caught.value.code is Code.CHANNEL_ORIGIN
    assert server.application_bytes == 0


def test_without_an_address_the_name_is_looked_up(url: str, guest: BootedGuest) -> None:
    with (
        new_session(url, guest.papers.root) as session,
        pytest.raises(NetworkError, match="cannot be resolved"),
    ):
        session.attest()


@pytest.mark.parametrize(
    ("given", "usual"),
    [
        ("192.0.2.10", "192.0.2.10"),
        ("[2001:DB8::1]", "2001:db8::1"),
        ("2001:db8:0::1", "2001:db8::1"),
    ],
)
def test_addresses(given: str, usual: str) -> None:
    assert parse_address(given) == usual


@pytest.mark.parametrize(
    "given", ["", "guest.example", "192.0.2.10:443", "[192.0.2.10", "192.0.2", "192.0.2.010"]
)
def test_what_is_no_address(given: str) -> None:
    with pytest.raises(UsageError, match="expected an IP address without a port"):
        verify_and_connect("https://guest.example", release=b"", address=given)
