"""Azure's Resource Manager on loopback, over TLS: its libraries send no token without it."""

from __future__ import annotations

import contextlib
import itertools
import json
import ssl
import threading
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import trustme

from tests.simulators.arm import Answer, Arm, Asked
from tests.simulators.entra import Entra

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.simulators.azurite import Azurite
    from tests.simulators.page_blob import Door


@dataclass(frozen=True, slots=True, kw_only=True)
class BlobDisks:
    """The blobs of disks in Azurite, reached through a door."""

    azurite: Azurite
    door: Door
    prefix: str
    """Before each name, so that tests do not meet."""
    given: Iterator[int] = field(default_factory=itertools.count)
    """How many signatures were given."""

    def make(self, name: str, size: int) -> None:
        """An empty page blob."""
        self.azurite.disk(self.prefix + name, size)

    def grant(self, name: str) -> str:
        """Its address with a signature for writing."""
        # No two signatures are the same.
        lasts = timedelta(hours=1, seconds=next(self.given))
        return self.door.address(self.azurite.signature(self.prefix + name, lasts=lasts))

    def tail(self, name: str) -> bytes:
        """Its last 512 bytes."""
        blob = self.azurite.blob(self.prefix + name)
        size = blob.get_blob_properties().size
        return bytes(blob.download_blob(offset=size - 512, length=512).readall())


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningArm:
    """A Resource Manager that answers."""

    arm: Arm
    entra: Entra
    """Who gives tokens, at the same address."""
    address: str
    authority: Path
    """The certificate (PEM) by which it is known."""


@contextlib.contextmanager
def running(storage: BlobDisks, home: Path) -> Iterator[RunningArm]:
    """A Resource Manager at a free port of loopback, for the length of the block."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(home / "arm.pem")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server = _Server(("127.0.0.1", 0), _Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    address = f"https://127.0.0.1:{server.server_port}"
    server.arm, server.entra = Arm(address, storage), Entra(address=address)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield RunningArm(
            arm=server.arm, entra=server.entra, address=address, authority=home / "arm.pem"
        )
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    arm: Arm
    entra: Entra
    lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        parts = urlsplit(self.path)
        data = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with self.server.lock:
            answer = self._answer(parts.path, dict(parse_qsl(parts.query)), data)
        body = b"" if answer.body is None else json.dumps(answer.body).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _answer(self, path: str, query: dict[str, str], data: bytes) -> Answer:
        if not path.lower().startswith("/subscriptions/"):
            return self.server.entra.answer(path, query | dict(parse_qsl(data.decode())))
        asked = Asked(
            verb=self.command,
            path=path,
            query=query,
            token=self.headers.get("Authorization", "").removeprefix("Bearer "),
            body=json.loads(data) if data else None,
        )
        return self.server.arm.answer(asked)

    do_GET = do_PUT = do_POST = do_DELETE = _handle  # noqa: N815 - as the library calls them

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""
