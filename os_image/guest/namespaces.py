"""A pod's numbers and its network, as namespaces: made by who may, entered by who owns them.

The kernel gives whoever enters a user namespace as its owner every right inside it and none outside.
So the making needs privileges, here and once, and all that runs containers needs none: neither podman
nor what it starts is root of the guest.

Source: user_namespaces(7), setns(2), unix(7), SCM_RIGHTS.
"""

import os
import socket
import struct
from dataclasses import dataclass
from pathlib import Path

from os_image.guest.errors import AppError

# <sched.h>. The functions are those of Python 3.12, and a guest has 3.13; the rest of this project runs
# on 3.11, where a checker does not know them.
_NEW_MOUNTS, _NEW_CONTROL_GROUPS, _NEW_QUEUES = 0x20000, 0x2000000, 0x8000000
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000

_READY = b"."
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of a peer: `struct ucred`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Namespaces:
    """File descriptors of two namespaces that exist as long as these are open."""

    user: int
    network: int
    """Of the user namespace, so that its root may configure it."""


def make_namespaces(first: int, count: int) -> Namespaces:
    """A user namespace that `first` owns and is root of, and a network namespace of it.

    Needs CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, and the securebit no-setuid-fixup.

    Args:
        first: The number outside that is 0 inside, as user and as group.
        count: How many numbers there are inside.

    Raises:
        AppError: The kernel refused.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _be_the_owner(theirs, first)
    theirs.close()
    with ours:
        _, found, _, _ = socket.recv_fds(ours, len(_READY), 2)
        if len(found) == 2:
            # By a process outside: inside, only one number could be given.
            for kind in ("uid", "gid"):
                Path(f"/proc/{child}/{kind}_map").write_text(f"0 {first} {count}\n", "ascii")
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise AppError(f"namespaces for {first}: expected them, and the kernel refused")
    user, network = found
    return Namespaces(user=user, network=network)


def _be_the_owner(parent: socket.socket, first: int) -> None:
    """Make the namespaces as their owner, hand them over, and end once they are in use."""
    try:
        os.setgroups([])
        os.setresgid(first, first, first)
        os.setresuid(first, first, first)
        _unshare(_NEW_USER | _NEW_NETWORK)
        kinds = [os.open(f"/proc/self/ns/{kind}", os.O_RDONLY) for kind in ("user", "net")]
        socket.send_fds(parent, [_READY], kinds)
        parent.recv(1)
    except OSError:
        os._exit(1)
    os._exit(0)


def peer_user(connection: socket.socket) -> int:
    """The user of the process at the other end of a Unix socket."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return int(_CREDENTIALS.unpack(found)[1])


def send_namespaces(connection: socket.socket, found: Namespaces) -> None:
    """Hand namespaces over to the process at the other end of a Unix socket."""
    socket.send_fds(connection, [_READY], [found.user, found.network])


def receive_namespaces(connection: socket.socket) -> Namespaces:
    """The namespaces that the process at the other end hands over.

    Raises:
        AppError: It handed over nothing.
    """
    _, found, _, _ = socket.recv_fds(connection, len(_READY), 2)
    if len(found) != 2:
        raise AppError("namespaces: expected two, and was refused")
    return Namespaces(user=found[0], network=found[1])


def enter(found: Namespaces) -> None:
    """Become root of the namespaces, with mounts, queues and control groups of one's own."""
    _enter(found.user, _NEW_USER)
    _enter(found.network, _NEW_NETWORK)
    _unshare(_NEW_MOUNTS | _NEW_QUEUES | _NEW_CONTROL_GROUPS)
    os.close(found.user)
    os.close(found.network)


def _unshare(kinds: int) -> None:
    os.unshare(kinds)  # type: ignore[attr-defined]


def _enter(namespace: int, kind: int) -> None:
    os.setns(namespace, kind)  # type: ignore[attr-defined]
