"""No network while a step is built: not for this process, nor for any program that it starts.

A network namespace belongs to a thread, and whatever it starts inherits it. So the thread that
builds a step moves into an empty one and comes back; errors and progress pass as ever.

Source: network_namespaces(7), unshare(2), setns(2); Linux, include/uapi/linux/{sched,sockios,if}.h.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CLONE_NEWNET = 0x40000000
_SIOCGIFFLAGS, _SIOCSIFFLAGS = 0x8913, 0x8914
_IFF_UP = 1
_libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def without_network() -> Iterator[None]:
    """Inside the block, this thread and what it starts reach nothing but their own loopback.

    Loopback is there since QEMU and swtpm may ask for it; servers of the machine that listen there
    are in another namespace and out of reach.

    Raises:
        BuildError: This process may not make a network namespace.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _must(_libc.unshare(_CLONE_NEWNET), "make a network namespace")
        try:
            _raise_loopback()
            yield
        finally:
            _must(_libc.setns(home, _CLONE_NEWNET), "return to the machine's network")
    finally:
        os.close(home)


def _must(done: int, what: str) -> None:
    if done != 0:
        raise BuildError(
            f"a build has no network, and this process may not {what} "
            f"({os.strerror(ctypes.get_errno())}): run the same command with sudo"
        )


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, _SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
