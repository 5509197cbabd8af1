"""A repository on loopback whose server misbehaves for one of its files."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

Quirk = Callable[[BaseHTTPRequestHandler, bytes], None]
"""Answers a request in the place of the server; gets what an honest one would send."""


@dataclass(slots=True)
class RepositoryServer:
    """A running server."""

    url: str = ""
    quirks: dict[str, Quirk] = field(default_factory=dict)
    """By the end of the file's name."""
    requests: list[str] = field(default_factory=list)
    """Paths of all requests so far."""
    gone: threading.Event = field(default_factory=threading.Event)
    """Set when the test is over: quirks that would go on for ever look at it."""


@contextlib.contextmanager
def repository_server(folder: Path) -> Iterator[RepositoryServer]:
    """A server of the folder on a free port of loopback, until the block ends."""
    state = RepositoryServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.requests.append(self.path)
            path = folder / self.path.lstrip("/")
            data = path.read_bytes() if path.is_file() else None
            quirk = next((q for name, q in state.quirks.items() if self.path.endswith(name)), None)
            with contextlib.suppress(ConnectionError):
                if quirk is not None:
                    quirk(self, data or b"")
                elif data is None:
                    self.send_error(404)
                else:
                    answer(self, data)

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
            state.gone.set()
            server.shutdown()
            thread.join()


def answer(
    handler: BaseHTTPRequestHandler,
    data: bytes,
    *,
    length: int | None = None,
    encoding: str = "identity",
) -> None:
    """Answer as a server should, or with another length or encoding in the head."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(data) if length is None else length))
    handler.send_header("Content-Encoding", encoding)
    handler.end_headers()
    handler.wfile.write(data)
