"""A web server on loopback that serves files as archives do, well or badly.

It stands in for a mirror: it honours ranges, and it can be told to break a connection, to
answer with a status, or to serve other bytes. It remembers every request.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(slots=True)
class FileServer:
    """A running server and what it is to do."""

    url: str = ""
    """Its address, without a slash at the end."""
    files: dict[str, bytes] = field(default_factory=dict)
    """What it serves, by path without the first slash."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """The path and the range of every request so far."""
    statuses: list[int] = field(default_factory=list)
    """Answers to give before any file is served, one for each request."""
    break_after: list[int] = field(default_factory=list)
    """Bytes after which a connection is closed, one for each answer with a file."""
    ranges: bool = True
    """Whether ranges are honoured; otherwise every answer is the whole file."""


@contextlib.contextmanager
def file_server() -> Iterator[FileServer]:
    """A server on a free port of loopback, until the block ends."""
    state = FileServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path, wanted = self.path.lstrip("/"), self.headers.get("Range")
            state.requests.append((path, wanted))
            if state.statuses:
                self._refuse(state.statuses.pop(0))
            elif path not in state.files:
                self._refuse(404)
            else:
                self._serve(state.files[path], wanted if state.ranges else None)

        def _refuse(self, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def _serve(self, data: bytes, wanted: str | None) -> None:
            start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
            if wanted and start >= len(data):
                self._refuse(416)
                return
            self.send_response(206 if wanted else 200)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            end = start + state.break_after.pop(0) if state.break_after else len(data)
            self.wfile.write(data[start:end])
            self.close_connection = self.close_connection or end < len(data)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
            """Write nothing: the requests are remembered."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        state.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
