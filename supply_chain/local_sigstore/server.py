"""The HTTP edge of the instance: every request is limited in size, in time and in number.

It listens on loopback. Another address is refused unless the caller says that it means it: what
goes over the wire, tokens and the client secret among it, is not encrypted.
"""

from __future__ import annotations

import io
import ipaddress
import json
import logging
import socket
import threading
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from supply_chain.errors import BuildError
from supply_chain.local_sigstore.exchange import RefusedError, Request, Response
from supply_chain.local_sigstore.keys import LocalSigstoreError

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

    from supply_chain.local_sigstore.exchange import Handler, Routes

ADDRESS = "127.0.0.1"
MAX_HEAD_BYTES = 1 << 16
"""Of all header lines together; the request line may be as long again."""
MAX_BODY_BYTES = 1 << 20
MAX_EXCHANGE_S = 15.0
"""From the first byte of a request to the last of its answer."""
MAX_CONNECTIONS = 32

Accepted = socket.socket | tuple[bytes, socket.socket]
"""A connection, as the standard library's server types it; the tuple is for datagrams."""

_log = logging.getLogger(__name__)


class HttpServer:
    """An HTTP server on a free port for the length of a `with` block."""

    def __init__(
        self,
        routes: Routes,
        *,
        address: str = ADDRESS,
        port: int = 0,
        unsafe_beyond_this_machine: bool = False,
        max_exchange_s: float = MAX_EXCHANGE_S,
    ) -> None:
        """Bind the port; nothing is answered before the block is entered.

        Args:
            routes: What is answered.
            address: The one address that callers will use.
            port: Its port; 0 takes a free one.
            unsafe_beyond_this_machine: Listen although others can reach the address.
            max_exchange_s: How long an exchange may take.

        Raises:
            LocalSigstoreError: The address is none, is every one at once, or can be reached by
                others although that was not asked for.
        """
        _check_address(address, unsafe=unsafe_beyond_this_machine)
        self._server = _Server((address, port), routes, max_exchange_s)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )

    @property
    def url(self) -> str:
        """The base URL, with the port."""
        return f"http://{_host(str(self._server.server_address[0]))}:{self._server.server_port}"

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
        if ":" in address[0]:
            self.address_family = socket.AF_INET6
        self.routes = routes
        self.max_exchange_s = max_exchange_s
        self._slots = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Exchange)
        # A web page that has rebound its name to 127.0.0.1 sends its own name.
        names = {_host(address[0]), "localhost"}
        self.hosts = {f"{name}:{self.server_port}" for name in names}

    def server_bind(self) -> None:
        # Without the reverse look-up of the base class: no name service is asked.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), self.server_address[1]

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
        self.rfile = _Head(self.rfile)
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

    # Every method has the same answer to give: what is there, or why not.
    do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = do_GET  # noqa: N815 - the base looks for these names

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
            expected = " or ".join(sorted(self.server.hosts))
            raise RefusedError(421, f"host: expected {expected}")
        path = urlsplit(self.path).path
        # The path itself, then what it lies below, the nearest first.
        ends = [number + 1 for number, letter in enumerate(path) if letter == "/"]
        names = [path, *(path[:end] for end in reversed(ends))]
        for name in names:
            handler = self.server.routes.get((self.command, name))
            if handler is not None:
                return handler
        allowed = sorted({method for method, known in self.server.routes if known in names})
        if allowed:
            raise RefusedError(
                405,
                f"{self.command} is not allowed here: expected {' or '.join(allowed)}",
                headers={"Allow": ", ".join(allowed)},
            )
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
        if self.command != "HEAD":
            self.wfile.write(response.body)


class _Head(io.BufferedIOBase):
    """A connection whose header lines are limited together, and not only each and in number."""

    def __init__(self, connection: io.BufferedIOBase) -> None:
        self._connection = connection
        self._left: int | None = None

    def readline(self, limit: int | None = -1, /) -> bytes:
        line = self._connection.readline(limit)
        if self._left is None:
            # The request line, which has a limit of its own.
            self._left = MAX_HEAD_BYTES
            return line
        self._left -= len(line)
        if self._left < 0:
            raise HTTPException("too many bytes")
        return line

    def read(self, size: int | None = -1, /) -> bytes:
        return self._connection.read(size)

    def close(self) -> None:
        self._connection.close()


def _check_address(text: str, *, unsafe: bool) -> None:
    try:
        address = ipaddress.ip_address(text)
    except ValueError as exc:
        raise LocalSigstoreError(f"listen: expected an IP address, got {text!r}") from exc
    if address.is_unspecified:
        raise LocalSigstoreError(
            f"listen: expected the one address that clients will use, got {text}, which is all"
        )
    if not address.is_loopback and not unsafe:
        raise LocalSigstoreError(
            f"listen: expected a loopback address, got {text}: others can reach it, and tokens "
            "and the client secret would cross the network unencrypted"
        )


def _host(address: str) -> str:
    """An address as a URL writes it."""
    return f"[{address}]" if ":" in address else address


def _refusal(error: RefusedError) -> Response:
    document = {"code": error.status, "message": error.reason}
    return Response(body=json.dumps(document).encode(), status=error.status, headers=error.headers)
