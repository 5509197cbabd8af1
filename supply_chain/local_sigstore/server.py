"""The HTTP edge of the instance: loopback only, every request limited in size, time and number."""

from __future__ import annotations

import json
import logging
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from supply_chain.errors import BuildError
from supply_chain.local_sigstore.exchange import RefusedError, Request, Response

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from supply_chain.local_sigstore.exchange import Handler, Routes

ADDRESS = "127.0.0.1"
MAX_BODY_BYTES = 1 << 20
MAX_EXCHANGE_S = 15.0
"""From the first byte of a request to the last of its answer."""
MAX_CONNECTIONS = 32

Accepted = socket.socket | tuple[bytes, socket.socket]
"""A connection, as the standard library's server types it; the tuple is for datagrams."""

_log = logging.getLogger(__name__)


class LoopbackServer:
    """An HTTP server on a free loopback port for the length of a `with` block."""

    def __init__(
        self, routes: Routes, *, port: int = 0, max_exchange_s: float = MAX_EXCHANGE_S
    ) -> None:
        """Bind the port; nothing is answered before the block is entered."""
        self._server = _Server((ADDRESS, port), routes, max_exchange_s)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL, with the port."""
        return f"http://{ADDRESS}:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        # Waits for the exchanges under way, whose time is limited.
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    request_queue_size = MAX_CONNECTIONS

    def __init__(self, address: tuple[str, int], routes: Routes, max_exchange_s: float) -> None:
        self.routes = routes
        self.max_exchange_s = max_exchange_s
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Exchange)
        # A web page that has rebound its name to 127.0.0.1 sends its own name.
        self.hosts = {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    def server_bind(self) -> None:
        # Without the reverse look-up of the base class: no name service is asked.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    def process_request(self, request: Accepted, client_address: object) -> None:
        # Waiting here leaves further callers in the kernel's queue instead of in memory.
        self._slots.acquire()
        super().process_request(request, client_address)

    def process_request_thread(self, request: Accepted, client_address: object) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._slots.release()


class _Exchange(BaseHTTPRequestHandler):
    """One request and its answer; the connection is closed after it."""

    protocol_version = "HTTP/1.0"
    server_version = "local-sigstore"
    sys_version = ""
    server: _Server

    def setup(self) -> None:
        super().setup()
        # A socket time-out limits each read; a caller that drips bytes is ended by the clock.
        self._limit = threading.Timer(self.server.max_exchange_s, self._hang_up)
        self._limit.daemon = True
        self._limit.start()

    def finish(self) -> None:
        self._limit.cancel()
        try:
            super().finish()
        except OSError as exc:
            _log.debug("caller left: %s", exc)

    def handle(self) -> None:
        try:
            super().handle()
        except OSError as exc:
            _log.debug("caller left: %s", exc)

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        self._answer()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer with the error as JSON, which is what Sigstore clients look for."""
        del explain
        self._send(_refusal(RefusedError(int(code), message or self.responses[code][0])))

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        """Keep the console for people."""
        _log.debug(format, *args)

    def _hang_up(self) -> None:
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError as exc:
            _log.debug("already closed: %s", exc)

    def _answer(self) -> None:
        try:
            response = self._route()(self._request())
        except RefusedError as exc:
            response = _refusal(exc)
        except (OSError, BuildError) as exc:
            response = _refusal(RefusedError(500, f"the state folder cannot be used: {exc}"))
        self._send(response)

    def _route(self) -> Handler:
        if self.headers.get("host", "") not in self.server.hosts:
            raise RefusedError(421, f"host: expected {ADDRESS} and the port of this server")
        path = urlsplit(self.path).path
        # The path itself, then what it lies below, the nearest first.
        ends = [number + 1 for number, letter in enumerate(path) if letter == "/"]
        names = [path, *(path[:end] for end in reversed(ends))]
        for name in names:
            handler = self.server.routes.get((self.command, name))
            if handler is not None:
                return handler
        if any(known in names for _, known in self.server.routes):
            raise RefusedError(405, f"{path}: this method is not allowed")
        raise RefusedError(404, f"{path[:100]}: nothing is here")

    def _request(self) -> Request:
        parts = urlsplit(self.path)
        return Request(
            path=parts.path,
            query=dict(parse_qsl(parts.query)),
            headers={name.lower(): value for name, value in self.headers.items()},
            body=self._body() if self.command == "POST" else b"",
        )

    def _body(self) -> bytes:
        length = self.headers.get("content-length")
        if length is None:
            raise RefusedError(411, "content-length is missing")
        if not length.isascii() or not length.isdigit() or len(length) > 18:
            raise RefusedError(400, "content-length: expected a number")
        if int(length) > MAX_BODY_BYTES:
            raise RefusedError(413, f"body: at most {MAX_BODY_BYTES} bytes, got {length}")
        body = self.rfile.read(int(length))
        if len(body) != int(length):
            raise RefusedError(400, f"body: expected {length} bytes, got {len(body)}")
        return body

    def _send(self, response: Response) -> None:
        self.send_response(response.status)
        self.send_header("Content-Type", response.content_type)
        self.send_header("Content-Length", str(len(response.body)))
        for name, value in response.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(response.body)


def _refusal(error: RefusedError) -> Response:
    document = {"code": error.status, "message": error.reason}
    return Response(body=json.dumps(document).encode(), status=error.status, headers=error.headers)
