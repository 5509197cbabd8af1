"""A door before Azurite that is as strict as Azure about managed disks, records, and can fail.

Azurite takes more than the blob of a managed disk does. So this writes down every request with the
parts that matter, and answers 400 to what Azure's would not take: another verb than an upload
needs, a page blob made anew, a page that is cleared, a digest of the content, more than 4 MiB,
parts of pages. Everything else goes to Azurite and comes back as it is.
"""

from __future__ import annotations

import contextlib
import threading
from dataclasses import dataclass, field
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_BYTES = 4 << 20
PAGE_BYTES = 512
_DIGESTS = ("content-md5", "x-ms-content-crc64", "x-ms-blob-content-md5")
_HOP_BY_HOP = frozenset({"connection", "transfer-encoding", "keep-alive", "server", "date"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What was asked."""

    verb: str
    operation: str
    """The parameter `comp`: `page` for Put Page, `pagelist` for Get Page Ranges, else empty."""
    headers: dict[str, str]
    length: int
    signature: str

    @property
    def is_put_page(self) -> bool:
        """Whether it sends data."""
        return (self.verb, self.operation) == ("PUT", "page")

    def refusal(self) -> str:
        """Why the blob of a managed disk would not take it; empty if it does."""
        if (self.verb, self.operation) in {("HEAD", ""), ("GET", "pagelist")}:
            return ""
        if not self.is_put_page:
            return f"{self.verb} {self.operation or 'blob'}"
        if digests := [name for name in _DIGESTS if name in self.headers]:
            return f"Put Page with {digests}"
        if self.headers.get("x-ms-page-write") != "update":
            return "Put Page that clears"
        if not 0 < self.length <= MOST_BYTES or self.length % PAGE_BYTES:
            return f"Put Page of {self.length} bytes"
        return ""


@dataclass(slots=True)
class Door:
    """The door, with its record."""

    port: int
    requests: list[Request] = field(default_factory=list)
    """All, in the order of arrival."""
    refused: list[str] = field(default_factory=list)
    """Why requests were refused that the blob of a managed disk does not take."""
    answered: Callable[[int, Request], tuple[int, dict[str, str]] | None] = lambda _count, _: None
    """Called with each request and its number: a status and headers to answer in Azurite's place."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    def address(self, signature: str) -> str:
        """Where a blob is found behind this door."""
        return f"http://127.0.0.1:{self.port}{signature}"

    def sent_bytes(self) -> int:
        """The bytes of all pages that were sent."""
        return sum(request.length for request in self.requests if request.is_put_page)


@contextlib.contextmanager
def door(azurite_port: int) -> Iterator[Door]:
    """A door that is open for the length of the block."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.azurite_port = azurite_port
    opened = server.door = Door(server.server_port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield opened
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    door: Door
    azurite_port: int


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Without it, an answer in two writes waits for the other side's delayed acknowledgement.
    disable_nagle_algorithm = True
    server: _Server

    def _handle(self) -> None:
        door = self.server.door
        query = parse_qs(urlsplit(self.path).query)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(
            verb=self.command,
            operation=query.get("comp", [""])[0],
            headers={name.lower(): value for name, value in self.headers.items()},
            length=len(body),
            signature=query.get("sig", [""])[0],
        )
        with door.lock:
            door.requests.append(request)
            count = len(door.requests)
        if reason := request.refusal():
            door.refused.append(reason)
            self._answer(400, {}, b"")
        elif answer := door.answered(count, request):
            status, headers = answer
            if status == 0:
                self.close_connection = True
                return
            self._answer(status, headers, b"")
        else:
            self._pass_on(self.server.azurite_port, body)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _handle  # noqa: N815 - as the library calls them

    def _pass_on(self, port: int, body: bytes) -> None:
        behind = HTTPConnection("127.0.0.1", port)
        try:
            behind.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer = behind.getresponse()
            headers = {k: v for k, v in answer.getheaders() if k.lower() not in _HOP_BY_HOP}
            self._answer(answer.status, headers, answer.read())
        finally:
            behind.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() != "content-length" or self.command == "HEAD":
                self.send_header(name, value)
        if self.command != "HEAD":
            self.send_header("Content-Length", str(len(body)))
        elif "content-length" not in {name.lower() for name in headers}:
            self.send_header("Content-Length", "0")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's name
        """Say nothing."""
