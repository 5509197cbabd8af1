"""A network namespace that looks like a guest's network, for as long as a test works in it.

Only the calling thread moves: the interfaces, the packet filter and the sockets that it makes are
the namespace's, and go with it. Needs root.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import socket
import struct
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from supply_chain.inputs.tree import Tree
from tests.simulators.frame import Address
from tests.simulators.neighbour import Port

# Source: Linux, include/uapi/linux/{sched,if_tun}.h.
CLONE_NEWNET = 0x40000000
TUNSETIFF = 0x400454CA
IFF_TAP, IFF_NO_PI = 0x0002, 0x1000
_TUN = Path("/dev/net/tun")
_FRAME = 2048

_KINDS = {"tcp": socket.SOCK_STREAM, "udp": socket.SOCK_DGRAM}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """Something that a program of the guest tries."""

    kind: str
    """`tcp` or `udp`."""
    to: Address
    port: int
    source_port: int = 0

    def make(self) -> None:
        """Try it, without waiting; whether anything gets out is what the neighbours tell."""
        family = socket.AF_INET if self.to.version == 4 else socket.AF_INET6
        with socket.socket(family, _KINDS[self.kind]) as one, contextlib.suppress(OSError):
            one.setblocking(False)
            if self.source_port:
                one.bind(("", self.source_port))
            one.connect((str(self.to), self.port))
            one.send(b"?")


class Tap:
    """The other end of an interface of the namespace."""

    def __init__(self, name: str) -> None:
        self._descriptor = os.open(_TUN, os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI)
        fcntl.ioctl(self._descriptor, TUNSETIFF, request)

    def fileno(self) -> int:
        return self._descriptor

    def send(self, data: bytes) -> None:
        os.write(self._descriptor, data)

    def receive(self) -> bytes | None:
        try:
            return os.read(self._descriptor, _FRAME)
        except BlockingIOError:
            return None

    def close(self) -> None:
        os.close(self._descriptor)


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpace:
    """The namespace, with its interfaces."""

    tree: Tree
    """Holds the programs that set it up: the guest's own."""
    taps: dict[str, Port]
    """The other ends of its interfaces, by their names."""

    def ip(self, *commands: str) -> None:
        """Set up interfaces, addresses and routes.

        Source: ip(8), option -batch.
        """
        run_host(self.tree, ["/usr/bin/ip", "-batch", "-"], "\n".join(commands))

    def filter(self, rules: str) -> str:
        """Load packet filter rules; what nft prints."""
        return run_host(self.tree, ["/usr/sbin/nft", "-f", "-"], rules)

    def attempt(self, user: int, attempts: Iterable[Attempt]) -> None:
        """Try these as a user of this number, without root's privileges.

        The packet filter goes by who has opened the socket.
        """
        os.seteuid(user)
        try:
            for one in attempts:
                one.make()
        finally:
            os.seteuid(0)


def run_host(tree: Tree, argv: Sequence[str], text: str) -> str:
    """What a program of the tree prints, run with its own libraries in the caller's namespaces."""
    root = tree.root
    loader = root / "usr/lib64/ld-linux-x86-64.so.2"
    libraries = root / "usr/lib/x86_64-linux-gnu"
    program, *words = argv
    done = subprocess.run(
        [loader, "--library-path", libraries, f"{root}{program}", *words],
        input=text.encode(),
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


@contextlib.contextmanager
def network_space(tree: Tree, *names: str) -> Iterator[NetworkSpace]:
    """Be in a new namespace with loopback and one tap device per name, all of them up.

    Skips the test where the kernel has no tap devices.
    """
    if not _TUN.exists():
        pytest.skip(f"needs {_TUN}")
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    taps: dict[str, Tap] = {}
    try:
        _called(libc.unshare(CLONE_NEWNET), "unshare")
        # Addresses are usable at once: nobody else is there.
        Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
        for name in names:
            taps[name] = Tap(name)
        space = NetworkSpace(tree=tree, taps={**taps})
        space.ip("link set lo up", *(f"link set {name} up" for name in names))
        yield space
    finally:
        for tap in taps.values():
            tap.close()
        _called(libc.setns(before, CLONE_NEWNET), "setns")
        os.close(before)


def _called(result: int, what: str) -> None:
    if result != 0:
        reason = os.strerror(ctypes.get_errno() or errno.EPERM)
        raise OSError(f"{what}: {reason}")
