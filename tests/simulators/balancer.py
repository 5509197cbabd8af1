"""A load balancer of layer 4 on loopback: it hands whole connections to one instance after another.

It sees no more than a real one does: bytes of TLS, whose keys the instances keep.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import socketserver
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_PIECE_BYTES = 1 << 16


@dataclass(slots=True)
class Balancer:
    """A running balancer; the instances behind it may change at any time."""

    url: str = ""
    instances: list[str] = field(default_factory=list)
    """Their URLs; each new connection goes to the first, which then goes to the end of the list."""
    _open: list[tuple[str, socket.socket]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def replace(self, gone: str, new: str) -> None:
        """Take an instance away, with the connections to it, and put another in its place."""
        with self._lock:
            self.instances[self.instances.index(gone)] = new
            cut = [client for instance, client in self._open if instance == gone]
        for client in cut:
            with contextlib.suppress(OSError):  # its thread may have closed it just now
                client.shutdown(socket.SHUT_RDWR)

    def choose(self, client: socket.socket) -> str:
        """Return the instance for a new connection."""
        with self._lock:
            chosen = self.instances.pop(0)
            self.instances.append(chosen)
            self._open.append((chosen, client))
            return chosen

    def forget(self, client: socket.socket) -> None:
        """A connection is over."""
        with self._lock:
            self._open = [pair for pair in self._open if pair[1] is not client]


@contextlib.contextmanager
def balancing(*instances: str) -> Iterator[Balancer]:
    """Run a balancer on loopback in front of these URLs until the block ends."""
    balancer = Balancer(instances=list(instances))

    class Handler(socketserver.BaseRequestHandler):
        """Passes bytes on in both directions."""

        def handle(self) -> None:
            """Serve one connection."""
            client: socket.socket = self.request
            target = urlsplit(balancer.choose(client))
            try:
                with socket.create_connection((target.hostname, target.port), 20) as instance:
                    _pass_on(client, instance)
            except OSError:
                """Either side went away."""
            finally:
                balancer.forget(client)

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

    with Server(("127.0.0.1", 0), Handler) as server:
        balancer.url = f"https://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield balancer
        finally:
            server.shutdown()
            thread.join()


def _pass_on(one: socket.socket, other: socket.socket) -> None:
    """Until either of them ends."""
    with selectors.DefaultSelector() as selector:
        selector.register(one, selectors.EVENT_READ, other)
        selector.register(other, selectors.EVENT_READ, one)
        while True:
            for key, _ in selector.select():
                assert isinstance(key.fileobj, socket.socket)
                piece = key.fileobj.recv(_PIECE_BYTES)
                if not piece:
                    return
                key.data.sendall(piece)
