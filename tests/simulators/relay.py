"""A relay in front of a genuine guest: its own TLS key, and every request passed on.

This is the strongest attacker on the network: the attestation that it hands out is genuine and
fresh, since the guest answers each nonce. What it cannot do is make the quote name its own key.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import trustme

TIMEOUT_S = 60
ATTESTATION = "/attestation"


@dataclass(slots=True)
class Relay:
    """A running relay and what it has seen."""

    url: str
    attestations: int = 0
    """Requests for evidence that were passed on."""
    application: list[str] = field(default_factory=list)
    """Paths of all other requests: what the attacker got to read."""


@contextlib.contextmanager
def relaying(upstream: str) -> Iterator[Relay]:
    """Run a relay on loopback in front of `upstream` until the block ends."""
    target = urlsplit(upstream)
    relay = Relay(url="")

    class Handler(BaseHTTPRequestHandler):
        """Passes each request on, and remembers it."""

        def do_POST(self) -> None:
            """Pass a request with a body on."""
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            if self.path == ATTESTATION:
                relay.attestations += 1
            else:
                relay.application.append(self.path)
            connection = http.client.HTTPSConnection(
                str(target.hostname),
                target.port,
                timeout=TIMEOUT_S,
                context=_any_certificate(),
            )
            headers = {"content-type": "application/json"}
            connection.request("POST", self.path, body=body, headers=headers)
            answer = connection.getresponse()
            content = answer.read()
            self.send_response(answer.status)
            self.send_header("content-type", answer.headers.get("content-type", ""))
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)
            connection.close()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base's name)
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    relay.url = f"https://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield relay
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _any_certificate() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
