"""A connection with one deadline and one limit for everything, however slowly the bytes drip.

A socket's own timeout starts anew with each byte, and `http.client` takes heads without end and
reads all that comes after a chunk of negative size.
"""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

    from _typeshed import ReadableBuffer, WriteableBuffer

__all__ = ["TimedSocket", "TooManyBytesError"]


class TooManyBytesError(Exception):
    """The peer has sent more than the limit."""


class TimedSocket(io.RawIOBase):
    """What `http.client` needs of a socket: `sendall`, and `makefile` for reading."""

    def __init__(self, connection: socket.socket, *, deadline: float, limit_bytes: int) -> None:
        """Wrap a connection, which stays the caller's to close.

        Args:
            connection: A connected socket; its timeout is changed.
            deadline: On the clock of `time.monotonic`, in seconds.
            limit_bytes: Most bytes that are received in all.
        """
        super().__init__()
        self._connection = connection
        self._deadline = deadline
        self._limit_bytes = limit_bytes
        self._received_bytes = 0
        self._ended = False
        self.more_came = False
        """True when the peer had sent more than was read; known when the reader is closed."""

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader; closing it does not close the connection."""
        return _Reader(self)

    def readable(self) -> bool:
        """Return True, which the reader asks for."""
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        """Receive into the buffer.

        Raises:
            TimeoutError: the deadline has passed.
            TooManyBytesError: the limit has.
        """
        if self._ended:
            return 0
        self._arm()
        count = self._connection.recv_into(buffer)
        self._received_bytes += count
        if self._received_bytes > self._limit_bytes:
            raise TooManyBytesError
        return count

    def end(self) -> None:
        """Receive nothing more."""
        self._ended = True

    def sendall(self, data: ReadableBuffer) -> None:
        """Send all of the data.

        Raises:
            TimeoutError: the deadline has passed.
        """
        self._arm()
        self._connection.sendall(data)

    def _arm(self) -> None:
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError("the server took too long")
        self._connection.settimeout(remaining)


class _Reader(io.BufferedReader):
    """Takes more than it is asked for, as every buffer does, and tells what was left in it."""

    def __init__(self, source: TimedSocket) -> None:
        super().__init__(source)
        self._source = source

    def close(self) -> None:
        if not self.closed:
            self._source.end()
            self._source.more_came = bool(self.peek(1))
        super().close()
