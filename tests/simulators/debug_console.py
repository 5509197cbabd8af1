"""A person at the console of a debug image: types a command, reads what it printed."""

from __future__ import annotations

import contextlib
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

ANSWER_TIMEOUT_S = 120.0
_CHUNK = 4096
_NO_ECHO = "stty -echo; PS1=; PS2="


class DebugConsole:
    """A root shell behind the serial port of a booted guest."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._type(_NO_ECHO)

    def run(self, command: str) -> str:
        """What a command of one line printed, on both streams, without the end of the last line.

        Raises:
            TimeoutError: The command does not end in time.
            ConnectionError: The guest has ended.
        """
        first, last = secrets.token_hex(8), secrets.token_hex(8)
        self._type(f"echo {first}; {{ {command}; }} 2>&1; echo {last}")
        heard = b""
        while f"\r\n{last}\r\n".encode() not in heard:
            piece = self._connection.recv(_CHUNK)
            if not piece:
                raise ConnectionError("the console was closed")
            heard += piece
        text = heard.decode(errors="replace").replace("\r\n", "\n")
        return text.rpartition(f"{first}\n")[2].partition(f"{last}\n")[0].strip("\n")

    def _type(self, line: str) -> None:
        self._connection.sendall(f"{line}\n".encode())


@contextlib.contextmanager
def typing_at(path: Path) -> Iterator[DebugConsole]:
    """The console behind the socket at `path`, while the block runs."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(ANSWER_TIMEOUT_S)
        connection.connect(str(path))
        yield DebugConsole(connection)
