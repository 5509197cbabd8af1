"""A local HTTP server that passes requests on to the verified guest, for programs in any language.

    with session.proxy(port=8080) as proxy:
        proxy.serve()

It decides nothing: each request goes through the session, which asks for evidence when it is due.
What is refused there is answered with 503 and the code of the refusal, and no byte of the request
leaves this machine. `_proxy_request` says whose requests are taken.

Between program and proxy there is plain HTTP: whoever can read this machine's loopback can read the
prompts anyway.
"""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from blindllama._carrier import HOP_BY_HOP, Answer, Carrier, Outgoing
from blindllama._printable import printable
from blindllama._proxy_error import Refusal, refusal
from blindllama._proxy_request import RefusedError, end_to_end, read_body, require_local
from blindllama.errors import Error, UsageError

__all__ = ["Proxy"]

_CONNECTIONS: Final = 64
"""Most programs that are served at the same time."""
_IDLE_S: Final = 60.0
"""Seconds in which a program must send its request, or take a piece of the answer."""
_LONGEST_PATH: Final = 200
_FRAMING: Final = HOP_BY_HOP | {"content-length", "date", "server"}


class Proxy:
    """A server on this machine whose requests are the session's."""

    def __init__(
        self,
        carrier: Carrier,
        *,
        host: str,
        port: int,
        log: Callable[[str], None] | None,
        allow_remote: bool,
    ) -> None:
        """Listen, and serve nothing yet; arguments as for `AttestedSession.proxy`.

        Raises:
            UsageError: no such address, or one that other machines reach.
        """
        _check_address(host, allow_remote=allow_remote)
        try:
            self._server = _Server((host, port), carrier, log)
        except (OSError, OverflowError) as exc:
            raise UsageError(f"listening at {host}, port {port}: {exc}") from exc

    @property
    def url(self) -> str:
        """Where programs reach it, `http://HOST:PORT`; OpenAI's base URL is `/v1` under it."""
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def serve(self) -> None:
        """Serve until `stop` is called, or until an exception such as KeyboardInterrupt."""
        self._server.serve_forever(poll_interval=0.1)

    def stop(self) -> None:
        """End `serve`, from another thread."""
        self._server.shutdown()

    def close(self) -> None:
        """Listen no more."""
        self._server.server_close()

    def __enter__(self) -> Self:
        """Return the proxy."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the proxy."""
        self.close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = _CONNECTIONS

    def __init__(
        self, address: tuple[str, int], carrier: Carrier, log: Callable[[str], None] | None
    ) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.carrier = carrier
        self.log = log
        self._free = threading.BoundedSemaphore(_CONNECTIONS)
        super().__init__(address, _Handler)

    def server_bind(self) -> None:
        # Not HTTPServer's: it asks the name service for a name of this address.
        socket.socket.setsockopt(self.socket, socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()

    def verify_request(self, request: Any, client_address: Any) -> bool:  # noqa: ANN401, ARG002 - its own
        return self._free.acquire(blocking=False)

    def process_request_thread(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - its own
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:  # noqa: ANN401 - its own
        """Say nothing: programs that go away are none of our errors, and a traceback tells much."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    disable_nagle_algorithm = True  # a token is sent on when it comes
    server: _Server

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Serve every method: which ones there are is the guest's business."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _serve(self) -> None:
        try:
            require_local(self.path, self.headers)
            outgoing = Outgoing(
                method=self.command,
                target=self.path,
                headers=end_to_end(self.headers),
                body=read_body(self.headers, self.rfile),
            )
            answer = self.server.carrier.send(outgoing)
        except RefusedError as exc:
            self.close_connection = True  # its body was not read
            self._refuse(exc.refusal)
        except Error as exc:
            self._refuse(refusal(exc))
        else:
            self._pass_on(answer)

    def _pass_on(self, answer: Answer) -> None:
        try:
            self._send_head(answer)
            while piece := answer.read():
                self._send_piece(piece)
            if self._chunked:
                self.wfile.write(b"0\r\n\r\n")
        except Error as exc:
            # The head is out: all that can be said is that this is not the end.
            self.close_connection = True
            self._log(f"broke off: {exc}")
        finally:
            answer.close()

    def _send_head(self, answer: Answer) -> None:
        self.send_response_only(answer.status, printable(answer.reason, 100))
        for name, value in answer.headers:
            # The guest's application lets web pages read its answers; this proxy does not.
            if name.lower() not in _FRAMING and not name.lower().startswith("access-control-"):
                self.send_header(name, value)
        bodiless = self.command == "HEAD" or answer.status in {204, 304}
        length = next((v for n, v in answer.headers if n.lower() == "content-length"), None)
        self._chunked = False
        if length is not None:
            self.send_header("Content-Length", length)
        elif not bodiless and self.request_version == "HTTP/1.1":
            self._chunked = True
            self.send_header("Transfer-Encoding", "chunked")
        elif not bodiless:
            self.close_connection = True
        if self.close_connection:
            self.send_header("Connection", "close")
        self._log(str(answer.status))
        self.end_headers()

    def _send_piece(self, piece: bytes) -> None:
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if self._chunked else piece)

    def _refuse(self, told: Refusal) -> None:
        body = told.body()
        self.send_response_only(told.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        # Clients of OpenAI try again by themselves otherwise, and a refusal stays one.
        self.send_header("X-Should-Retry", "false")
        self.send_header("Connection", "close")
        self.close_connection = True
        self._log(f"{told.status.value} {told.message}")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_error(
        self,
        code: int,
        message: str | None = None,  # noqa: ARG002 - the base's
        explain: str | None = None,  # noqa: ARG002
    ) -> None:
        """Answer what is not HTTP as everything else, without repeating it."""
        self.command = getattr(self, "command", None) or "-"
        self.path = getattr(self, "path", "-")
        self.request_version = "HTTP/1.1"  # an older one would have no head
        self._refuse(Refusal(status=HTTPStatus(code), code="proxy.http", message="not whole HTTP"))

    def _log(self, outcome: str) -> None:
        path = self.path.partition("?")[0]  # a query may hold what the user said
        if self.server.log is not None:
            line = f"{printable(self.command, 16)} {printable(path, _LONGEST_PATH)} {outcome}"
            self.server.log(line)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name
        """Say nothing: `_log` does."""


def _check_address(host: str, *, allow_remote: bool) -> None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError as exc:
        raise UsageError(
            f"address to listen at; expected one such as 127.0.0.1; got {host}"
        ) from exc
    if not address.is_loopback and not allow_remote:
        raise UsageError(
            f"address to listen at; expected a loopback address; got {host}, which other machines "
            "may reach over plain HTTP; allow that explicitly if you mean it"
        )
