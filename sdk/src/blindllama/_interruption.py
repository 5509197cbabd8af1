"""How one thread ends another one's wait for an answer, without touching anybody else's connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar

from blindllama.errors import NetworkError

__all__ = ["Interruption", "interruptible", "own_connection"]


class Interruption:
    """Made for one request; the connection is known from just before it is sent until its head."""

    def __init__(self) -> None:
        """Interrupt nothing yet."""
        self._lock = threading.Lock()
        self._connection: socket.socket | None = None
        self._interrupted = False

    def interrupt(self) -> None:
        """End the wait, or keep the request from being sent; never waits itself."""
        with self._lock:
            self._interrupted = True
            if self._connection is not None:
                with suppress(OSError):  # it may have ended by itself
                    # Below TLS: the thread that reads is inside of it.
                    socket.socket.shutdown(self._connection, socket.SHUT_RDWR)

    def begin(self, connection: socket.socket | None) -> None:
        """Say which connection is about to be used.

        Raises:
            NetworkError: interrupted before anything was sent.
        """
        with self._lock:
            if self._interrupted:
                raise NetworkError("given up before it was sent")
            self._connection = connection

    def end(self) -> None:
        """Say that the head is there: the connection may be another request's from now on."""
        with self._lock:
            self._connection = None


_CURRENT: ContextVar[Interruption | None] = ContextVar("blindllama_interruption", default=None)


@contextmanager
def interruptible(interruption: Interruption | None) -> Iterator[None]:
    """Let the request that is sent inside be interrupted."""
    token = _CURRENT.set(interruption)
    try:
        yield
    finally:
        _CURRENT.reset(token)
        if interruption is not None:
            interruption.end()


def own_connection(connection: socket.socket | None) -> None:
    """Tell the current request's interruption which connection it is sent on.

    Raises:
        NetworkError: interrupted before anything was sent.
    """
    interruption = _CURRENT.get()
    if interruption is not None:
        interruption.begin(connection)
