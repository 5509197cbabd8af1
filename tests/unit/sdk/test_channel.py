"""Parts of step 10 that a well-made session never lets happen."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from blindllama._channel import Origin, parse_origin, peer_spki, request_evidence, tls_context
from blindllama._pool import AttestedConnection, AttestedPool
from blindllama._timed_socket import TimedSocket
from blindllama.errors import ChannelBindingError, Code, NetworkError, UsageError, VerificationError
from tests.simulators.attested_client import new_session
from tests.simulators.attested_server import Answer, Server, TlsKey, attested_server
from tests.simulators.booted_guest import BootedGuest, Papers, boot
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

KEY = TlsKey()


@pytest.fixture
def guest() -> BootedGuest:
    quoter = SoftwareQuoter(ak=SoftwareAk.make_rsa())
    boot(quoter)
    return BootedGuest(quoter=quoter, papers=Papers.of(quoter), spki=KEY.spki)


@pytest.fixture
def server(guest: BootedGuest) -> Iterator[Server]:
    with attested_server(guest, KEY) as running:
        yield running


@contextlib.contextmanager
def connected(server: Server, context: ssl.SSLContext) -> Iterator[ssl.SSLSocket]:
    address = urlsplit(server.url)
    with (
        socket.create_connection((address.hostname, address.port), timeout=5) as plain,
        context.wrap_socket(plain, server_hostname=address.hostname) as secured,
    ):
        yield secured


def test_the_key_of_the_peer(server: Server) -> None:
    with connected(server, tls_context()) as connection:
        assert peer_spki(connection) == KEY.spki


def test_a_certificate_that_cannot_be_read(server: Server) -> None:
    der = KEY.certificate_der
    version_3, version_5 = bytes.fromhex("a003020102"), bytes.fromhex("a003020104")
    assert der.count(version_3) == 1
    server.context = KEY.context(certificate=der.replace(version_3, version_5))
    with (
        connected(server, tls_context()) as connection,
        pytest.raises(ChannelBindingError) as caught,
    ):
        peer_spki(connection)
    assert caught.value.code is Code.CHANNEL_KEY


def test_the_key_of_an_older_tls_is_not_taken(server: Server) -> None:
    server.context = KEY.context(ssl.TLSVersion.TLSv1_2)
    lax = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    lax.check_hostname = False
    lax.verify_mode = ssl.CERT_NONE
    with connected(server, lax) as connection, pytest.raises(ChannelBindingError) as caught:
        peer_spki(connection)
    assert caught.value.code is Code.CHANNEL_TLS_VERSION


def test_t4_a_deadline_is_for_the_whole_exchange(server: Server) -> None:
    with connected(server, tls_context()) as connection:
        with pytest.raises(NetworkError):
            request_evidence(connection, parse_origin(server.url), bytes(32), timeout_s=0.0)
        assert connection.gettimeout() == 5


class Turnstile:
    """A gate that asks for another connection each time."""

    def __init__(self) -> None:
        self.asked = 0

    def admit(self, connection: ssl.SSLSocket) -> bool:
        self.asked += 1
        return False


def test_connections_are_not_opened_for_ever(server: Server) -> None:
    gate = Turnstile()
    pool = AttestedPool(parse_origin(server.url), gate, timeout_s=5)
    with pytest.raises(NetworkError):
        pool.attest()
    pool.close()
    assert (gate.asked, server.application_bytes) == (2, 0)


def test_a_renewal_on_a_connection_that_the_server_then_closes(
    server: Server, guest: BootedGuest
) -> None:
    with new_session(server.url, guest.papers.root) as session:
        session.get("/")
        session._attestor._verified.clear()  # as if it had expired
        server.closes_after_evidence = True
        assert session.get("/").status_code == 200
    assert (server.attestations, server.handshakes) == (2, 2)


def test_a_connection_without_tls_is_a_defect(server: Server) -> None:
    address = urlsplit(server.url)
    connection = AttestedConnection("127.0.0.1", address.port, gate=Turnstile())
    with socket.socket() as plain:
        connection.sock = plain
        with pytest.raises(TypeError):
            connection.request("GET", "/")


@pytest.mark.parametrize("reads", [0, 4096], ids=["reset", "end of file"])
def test_a_server_that_hangs_up_during_the_handshake(guest: BootedGuest, reads: int) -> None:
    def hang_up(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            if reads:
                connection.recv(reads)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=hang_up, args=(listener,))
        thread.start()
        url = f"https://127.0.0.1:{listener.getsockname()[1]}"
        with new_session(url, guest.papers.root) as session, pytest.raises(NetworkError):
            session.attest()
        thread.join()


def test_ipv6_addresses_keep_their_brackets() -> None:
    origin = parse_origin("https://[::1]")
    assert origin == Origin(host="::1", port=443)
    assert origin.url == "https://[::1]:443"


def test_international_names_come_in_ascii() -> None:
    with pytest.raises(UsageError):
        parse_origin("https://bücher.example")
    assert parse_origin("https://xn--bcher-kva.example").host == "xn--bcher-kva.example"


def test_hosts_are_compared_in_lower_case() -> None:
    assert parse_origin("HTTPS://Guest.Example/") == parse_origin("https://guest.example:443")


def test_t1_a_refusal_leaves_no_open_connection(server: Server, guest: BootedGuest) -> None:
    server.answer = lambda _: Answer(body=b"{}")
    with new_session(server.url, guest.papers.root) as session:
        for _ in range(3):
            with pytest.raises(VerificationError) as caught:
                session.get("/")
            assert caught.value.code is Code.FORMAT_VERSION
    # Each try was a connection of its own: none was kept.
    assert server.handshakes == 3


def test_a_reader_may_be_closed_twice() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"an answer and more")
        timed = TimedSocket(ours, deadline=time.monotonic() + 60, limit_bytes=100)
        reader = timed.makefile("rb")
        assert reader.read(9) == b"an answer"
        reader.close()
        reader.close()
    assert timed.more_came
