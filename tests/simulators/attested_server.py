"""A TLS 1.3 server on loopback that attests itself and completes prompts, and that can misbehave.

It counts what a client sends besides requests for evidence: after a refusal the count must be 0.
"""

from __future__ import annotations

import base64
import contextlib
import json
import socket
import socketserver
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Protocol

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from cryptography.x509.oid import NameOID

from tests.simulators.booted_guest import encode

WORDS = (" Paris", ".", " It", " is", " large")


class Attester(Protocol):
    """What answers nonces: a `BootedGuest`, or what a test puts in its place."""

    def document(self, nonce: bytes) -> dict[str, Any]: ...


class TlsKey:
    """A TLS key and a certificate that nobody vouches for."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "guest")])
        now = datetime.now(UTC)
        self._certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            # For clients that know nothing of attestation, to compare with.
            .add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )

    @property
    def certificate_pem(self) -> bytes:
        return self._certificate.public_bytes(Encoding.PEM)

    @property
    def spki(self) -> bytes:
        return self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    @property
    def certificate_der(self) -> bytes:
        return self._certificate.public_bytes(Encoding.DER)

    def context(
        self,
        version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
        *,
        certificate: bytes | None = None,
    ) -> ssl.SSLContext:
        """A server's context; `certificate` is DER to send in place of the key's own."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = version
        with tempfile.TemporaryDirectory() as home:
            path = Path(home) / "key.pem"
            path.write_bytes(
                self._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
                + ssl.DER_cert_to_PEM_cert(certificate or self.certificate_der).encode()
            )
            context.load_cert_chain(path)
        return context


@dataclass(frozen=True, kw_only=True)
class Answer:
    """An answer to a request for evidence, as a hostile server may give it."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=lambda: {"Content-Type": "application/json"})
    raw: bytes | None = None
    """The whole answer, instead of all of the above."""
    drip_s: float | None = None
    """Seconds between two bytes."""


@dataclass
class Server:
    """A running server and what it has seen."""

    attester: Attester
    url: str = ""
    attestations: int = 0
    handshakes: int = 0
    paths: list[str] = field(default_factory=list)
    """Application requests, in order."""
    bodies: list[bytes] = field(default_factory=list)
    """Their bodies."""
    application_bytes: int = 0
    """Bytes of application requests, head and body."""
    answer: Callable[[dict[str, Any]], Answer] = lambda document: Answer(body=encode(document))
    """Turns the genuine document into what is sent."""
    application: Callable[[BaseHTTPRequestHandler], None] | None = None
    """Answers application requests in place of the completions."""
    greeting: bytes = b""
    """Sent on each connection before anything was asked."""
    postscript: bytes = b""
    """Sent behind each evidence."""
    attesting: Callable[[], None] = lambda: None
    """Called before each evidence is made: a test may wait here."""
    half_closes: bool = False
    """End the server's own half of a connection instead of answering."""
    closes_after_evidence: bool = False
    closes_after_answer: bool = False
    """Ask for a new connection for each request of the application."""
    context: ssl.SSLContext | None = None
    key: TlsKey | None = None

    def use_key(self, key: TlsKey) -> None:
        """Serve new connections with another key."""
        self.key = key
        self.context = key.context()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 20
    disable_nagle_algorithm = True  # its pauses would hide everything that a bench compares

    @property
    def seen(self) -> Server:
        assert isinstance(self.server, _TlsServer)
        return self.server.seen

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if self.path == "/attestation":
            self._attest(base64.b64decode(json.loads(body)["nonce"]))
        else:
            self._apply(body)

    def do_GET(self) -> None:
        self._apply(b"")

    def _attest(self, nonce: bytes) -> None:
        seen = self.seen
        seen.attestations += 1
        seen.attesting()
        if seen.half_closes:
            socket.socket.shutdown(self.connection, socket.SHUT_WR)
            return
        answer = seen.answer(seen.attester.document(nonce))
        head = f"HTTP/1.1 {answer.status} x\r\nContent-Length: {len(answer.body)}\r\n"
        if seen.closes_after_evidence:
            head += "Connection: close\r\n"
            self.close_connection = True
        head += "".join(f"{name}: {value}\r\n" for name, value in answer.headers.items())
        data = (
            head.encode() + b"\r\n" + answer.body + seen.postscript
            if answer.raw is None
            else answer.raw
        )
        if answer.raw is not None:
            self.close_connection = True
        if answer.drip_s is None:
            self.wfile.write(data)
            return
        stop = threading.Event()
        for byte in data:
            self.wfile.write(bytes([byte]))
            stop.wait(answer.drip_s)

    def _apply(self, body: bytes) -> None:
        seen = self.seen
        seen.paths.append(self.path)
        seen.bodies.append(body)
        seen.application_bytes += len(self.requestline) + len(bytes(self.headers)) + len(body)
        if seen.application is not None:
            seen.application(self)
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        if seen.closes_after_answer:
            self.send_header("Connection", "close")
        self.end_headers()
        chat = self.path == "/v1/chat/completions"
        said: list[dict[str, object]] = [
            {"delta": {"content": word}} if chat else {"text": word} for word in WORDS
        ]
        if chat:  # who speaks comes first, why it ended last; neither has a text
            said = [{"delta": {"role": "assistant", "content": None}}, *said, {"delta": {}}]
        for choice in said:
            event = {"choices": [choice | {"index": 0, "finish_reason": None}]}
            self._chunk(b"data: " + json.dumps(event).encode() + b"\n\n")
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing."""


class _TlsServer(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True
    seen: Server

    def finish_request(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - its own
        # The handshake is done here, in the connection's own thread, with the key of the moment.
        assert self.seen.context is not None
        with contextlib.suppress(OSError):
            request.settimeout(20)
            with self.seen.context.wrap_socket(request, server_side=True) as secured:
                self.seen.handshakes += 1
                secured.sendall(self.seen.greeting)
                _Handler(secured, client_address, self)

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - its own
        """Clients that go away are expected."""


@contextlib.contextmanager
def attested_server(attester: Attester, key: TlsKey) -> Iterator[Server]:
    """Serve on loopback until the block ends."""
    seen = Server(attester=attester)
    seen.use_key(key)
    with _TlsServer(("127.0.0.1", 0), _Handler) as server:
        server.seen = seen
        seen.url = f"https://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield seen
        finally:
            server.shutdown()
            thread.join()
