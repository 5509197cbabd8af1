"""A software TPM seen through somebody in between: slow, changing its registers, or not there.

It speaks what swtpm and its clients speak on two UNIX sockets, the TPM's own bytes on one and
swtpm's control commands on the other, and passes both on. What happens on the way is a rule for each
command code. Only one command is under way at a time, as in a TPM.

Alone, for a service in another process: `python -m tests.simulators.tpm_proxy S BEHIND SECONDS`
makes each quote that much slower.

Source: TCG TPM 2.0 Library, Part 1, section 18 (command structure); Part 2, section 6.5.2 (codes).
"""

from __future__ import annotations

import contextlib
import socket
import socketserver
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

QUOTE = 0x158
PCR_READ = 0x17E
NV_READ = 0x14E

_HEADER = 10
"""Bytes of tag, size and code, with which every command and every response starts."""
_LARGEST = 4096

Rule = Callable[[], Sequence[bytes]]
"""Called before a command is passed on; returns commands to send to the TPM before it."""


@dataclass(kw_only=True)
class TpmProxy:
    """What a proxy does and has seen; a test may change the rules while it runs."""

    server: Path
    """The socket for commands; the control socket is beside it."""
    behind: Path
    """The same of the TPM."""
    rules: dict[int, Rule] = field(default_factory=dict)
    """By command code."""
    counts: Counter[int] = field(default_factory=Counter)
    """Commands that came, by code."""
    gone: bool = False
    """Whether every connection is closed at once, as by a TPM that is not there."""
    _turn: threading.Lock = field(default_factory=threading.Lock)

    @property
    def tcti(self) -> str:
        return f"swtpm:path={self.server}"

    def pass_on(self, command: bytes) -> bytes:
        """The TPM's response to a command, after whatever the rules say."""
        code = int.from_bytes(command[6:10], "big")
        with self._turn:
            self.counts[code] += 1
            for other in self.rules[code]() if code in self.rules else ():
                send(self.behind, other)
            return send(self.behind, command)


def send(server: Path, command: bytes) -> bytes:
    """The response of the TPM behind a socket to one command."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(server))
        connection.sendall(command)
        return _read_message(connection)


def slowly(seconds: float) -> Rule:
    """A rule that only takes time."""

    def wait() -> Sequence[bytes]:
        time.sleep(seconds)
        return ()

    return wait


@contextlib.contextmanager
def proxied(tcti: str, rules: Mapping[int, Rule] | None = None) -> Iterator[TpmProxy]:
    """A proxy in front of the TPM with this TCTI configuration (`swtpm:path=…`)."""
    behind = Path(tcti.removeprefix("swtpm:path="))
    # Short on purpose: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="bl-between-") as name:
        proxy = TpmProxy(server=Path(name) / "s", behind=behind, rules=dict(rules or {}))
        with serving(proxy):
            yield proxy


@contextlib.contextmanager
def serving(proxy: TpmProxy) -> Iterator[None]:
    """Serves both sockets while the block runs."""
    control = Path(f"{proxy.server}.ctrl")
    with contextlib.ExitStack() as stack:
        for path, handler in ((proxy.server, _Commands), (control, _Control)):
            server = stack.enter_context(_Server(str(path), handler))
            server.proxy = proxy
            thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    request_queue_size = 64
    proxy: TpmProxy


class _Commands(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while not self.server.proxy.gone and (command := _read_message(self.request)):
                self.request.sendall(self.server.proxy.pass_on(command))


class _Control(socketserver.BaseRequestHandler):
    """Control commands have no common header; each gets one response."""

    server: _Server
    request: socket.socket

    def handle(self) -> None:
        behind = Path(f"{self.server.proxy.behind}.ctrl")
        with contextlib.suppress(ConnectionError), socket.socket(socket.AF_UNIX) as connection:
            if self.server.proxy.gone:
                return
            connection.connect(str(behind))
            while command := self.request.recv(_LARGEST):
                connection.sendall(command)
                self.request.sendall(connection.recv(_LARGEST))


def _read_message(connection: socket.socket) -> bytes:
    """One whole command or response; empty when the other side has closed."""
    message = _read(connection, _HEADER)
    if not message:
        return b""
    return message + _read(connection, int.from_bytes(message[2:6], "big") - _HEADER)


def _read(connection: socket.socket, size: int) -> bytes:
    parts = []
    while size > 0:
        part = connection.recv(size)
        if not part:
            return b""
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def main(arguments: Sequence[str]) -> None:
    """Serve a TPM whose quotes take longer, until standard input ends."""
    server, behind, seconds = arguments
    proxy = TpmProxy(
        server=Path(server), behind=Path(behind), rules={QUOTE: slowly(float(seconds))}
    )
    with serving(proxy):
        print("serving", flush=True)  # noqa: T201 - who started it waits for this line
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1:])
