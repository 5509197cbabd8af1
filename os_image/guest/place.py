"""A pod's numbers, network and images: made by who may, entered by who owns them.

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
from os_image.guest.mapped_mount import mapped_mount

# <sched.h>. The functions are those of Python 3.12, and a guest has 3.13; the rest of this project runs
# on 3.11, where a checker does not know them.
_NEW_MOUNTS, _NEW_CONTROL_GROUPS, _NEW_QUEUES = 0x20000, 0x2000000, 0x8000000
_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000

_READY = b"."
_CREDENTIALS = struct.Struct("3i")
"""Process, user and group of a peer: `struct ucred`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Open files of what a pod is given; all of it exists as long as somebody has them open."""

    user: int
    """A user namespace."""
    network: int
    """A network namespace of the user namespace, so that its root may configure it."""
    images: int
    """A mount of the image store in which the pod's root owns what root owns on the disk."""

    def close(self) -> None:
        """Let go of it here."""
        for one in (self.user, self.network, self.images):
            os.close(one)


def make_place(first: int, count: int, images: Path) -> Place:
    """A user namespace that `first` owns and is root of, with a network and with images.

    Needs CAP_SYS_ADMIN, CAP_SETUID, CAP_SETGID, and the securebit no-setuid-fixup.

    Args:
        first: The number outside that is 0 inside, as user and as group.
        count: How many numbers there are inside.
        images: The directory of the image store.

    Raises:
        AppError: The kernel refused the namespaces.
        OSError: It refused the mount, or the numbers.
    """
    ours, theirs = socket.socketpair()
    child = os.fork()
    if child == 0:
        ours.close()
        _be_the_owner(theirs, first)
    theirs.close()
    with ours:
        _, found, _, _ = socket.recv_fds(ours, len(_READY), 2)
        if found:
            # By a process outside: inside, only one number could be given.
            for kind in ("uid", "gid"):
                Path(f"/proc/{child}/{kind}_map").write_text(f"0 {first} {count}\n", "ascii")
    _, status = os.waitpid(child, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        raise AppError(f"namespaces for {first}: expected them, and the kernel refused")
    user, network = found
    return Place(user=user, network=network, images=mapped_mount(images, user))


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


def send_place(connection: socket.socket, place: Place) -> None:
    """Hand a place over to the process at the other end of a Unix socket."""
    socket.send_fds(connection, [_READY], [place.user, place.network, place.images])


def receive_place(connection: socket.socket) -> Place:
    """The place that the process at the other end hands over.

    Raises:
        AppError: It handed over nothing.
    """
    _, found, _, _ = socket.recv_fds(connection, len(_READY), 3)
    if not found:
        raise AppError("a place: expected namespaces and images, and was refused")
    user, network, images = found
    return Place(user=user, network=network, images=images)


def enter(place: Place) -> None:
    """Become root of the namespaces, with mounts, queues and control groups of one's own."""
    _enter(place.user, _NEW_USER)
    _enter(place.network, _NEW_NETWORK)
    _unshare(_NEW_MOUNTS | _NEW_QUEUES | _NEW_CONTROL_GROUPS)


def _unshare(kinds: int) -> None:
    os.unshare(kinds)  # type: ignore[attr-defined]


def _enter(namespace: int, kind: int) -> None:
    os.setns(namespace, kind)  # type: ignore[attr-defined]
