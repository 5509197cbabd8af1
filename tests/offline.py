"""Runs a command where there is no network but loopback, and proves that first.

Usage: python tests/offline.py COMMAND …
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

# Source: Linux, include/uapi/linux/{sched,sockios,if}.h.
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
SIOCGIFFLAGS, SIOCSIFFLAGS = 0x8913, 0x8914
IFF_UP = 1
ELSEWHERE = ("192.0.2.1", 80)
"""An address that belongs to nobody (RFC 5737): a network would at least try."""


def leave_network() -> None:
    """This process is alone in a new network namespace."""
    uid, gid = os.geteuid(), os.getegid()
    flags = CLONE_NEWNET if uid == 0 else CLONE_NEWNET | CLONE_NEWUSER
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags) != 0:
        reason = os.strerror(ctypes.get_errno())
        sys.exit(f"no network namespace can be made here ({reason}): run the tests as root")
    if uid != 0:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1")
        Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1")


def raise_loopback() -> None:
    """The interface lo is up: tests speak to servers of their own on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack_from("h", fcntl.ioctl(control, SIOCGIFFLAGS, request), 16)
        fcntl.ioctl(control, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | IFF_UP))


def prove() -> None:
    """Loopback works, no other interface is there, and nothing else can be reached."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname(), timeout=5).close()
    interfaces = {
        name
        for _, name in socket.if_nameindex()
        # Kernels with tunnels built in make these in every namespace; all of them are down.
        if name == "lo" or "up" in Path(f"/sys/class/net/{name}/operstate").read_text("utf-8")
    }
    if interfaces != {"lo"}:
        sys.exit(f"expected no interface but lo, got {sorted(interfaces)}")
    with socket.socket() as attempt:
        attempt.settimeout(5)
        if attempt.connect_ex(ELSEWHERE) != errno.ENETUNREACH:
            sys.exit("something beyond this machine can be reached: the network is not off")


def main() -> None:
    """Run the command of the command line without a network."""
    leave_network()
    raise_loopback()
    prove()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - the command that the caller named


if __name__ == "__main__":
    main()
