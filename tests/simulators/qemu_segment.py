"""A place on the network segment of a guest: it sees what the guest sends, and sends to the guest.

QEMU's user network carries connections to one port and hides everything else. Two of its filters
stand between that network and the guest's card: one copies every frame that the guest sends to a
socket, the other one hands every frame from a socket to the guest.

Source: qemu(1), filter-mirror and filter-redirector; QEMU, net/net.c (net_fill_rstate): each frame
is preceded by its length, four bytes, big-endian.
"""

from __future__ import annotations

import contextlib
import queue
import socket
import struct
import threading
from pathlib import Path

_LENGTH = struct.Struct("!I")
_ASK_AGAIN_S = 0.05


def segment_arguments(folder: Path) -> tuple[str, ...]:
    """QEMU's arguments for the two filters, with their sockets in a folder of a short path."""
    return (
        *_socket("copied", folder),
        "-object",
        "filter-mirror,id=copy,netdev=net,queue=rx,outdev=copied",
        *_socket("given", folder),
        "-object",
        "filter-redirector,id=give,netdev=net,queue=tx,indev=given",
    )


def _socket(name: str, folder: Path) -> tuple[str, str]:
    return "-chardev", f"socket,id={name},path={folder / name},server=on,wait=off"


class QemuSegment:
    """A port at these two sockets; see `tests.simulators.neighbour.Port`.

    It is made before QEMU is, so that it misses nothing, and it always reads: QEMU would wait.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._frames: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        self._wakes, self._sleeps = socket.socketpair()
        self._sleeps.setblocking(False)
        self._closed = threading.Event()
        self._given: socket.socket | None = None
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def fileno(self) -> int:
        return self._sleeps.fileno()

    def send(self, data: bytes) -> None:
        if self._given is None:
            self._given = self._connected("given")
        assert self._given is not None, "the segment is closed"
        self._given.sendall(_LENGTH.pack(len(data)) + data)

    def receive(self) -> bytes | None:
        with contextlib.suppress(BlockingIOError):
            self._sleeps.recv(4096)
        try:
            return self._frames.get_nowait()
        except queue.Empty:
            return None

    def close(self) -> None:
        """End it; QEMU may still run."""
        self._closed.set()
        self._reader.join()
        for one in (self._given, self._wakes, self._sleeps):
            if one is not None:
                one.close()

    def _read(self) -> None:
        copied = self._connected("copied")
        if copied is None:
            return
        buffer = bytearray()
        with copied:
            copied.settimeout(_ASK_AGAIN_S)
            while not self._closed.is_set():
                with contextlib.suppress(TimeoutError):
                    if not (more := copied.recv(1 << 16)):
                        return  # QEMU has ended
                    buffer += more
                    self._take(buffer)

    def _take(self, buffer: bytearray) -> None:
        while len(buffer) >= _LENGTH.size:
            end = _LENGTH.size + _LENGTH.unpack_from(buffer)[0]
            if len(buffer) < end:
                return
            self._frames.put(bytes(buffer[_LENGTH.size : end]))
            del buffer[:end]
            self._wakes.send(b"\0")

    def _connected(self, name: str) -> socket.socket | None:
        while not self._closed.is_set():
            one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                one.connect(str(self._folder / name))
            except OSError:
                one.close()
                self._closed.wait(_ASK_AGAIN_S)
            else:
                return one
        return None
