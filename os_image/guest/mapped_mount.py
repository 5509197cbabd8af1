"""A directory as another user namespace's root owns it: mounted by who may, attached by who is root.

Owners are mapped while files are read, so nothing is copied and no layer has another owner on the
disk. A mount that is nowhere yet is an open file, and can be handed over like one.

Source: open_tree(2), mount_setattr(2), move_mount(2); Linux, include/uapi/linux/mount.h.
"""

import ctypes
import os
from pathlib import Path

_OPEN_TREE, _MOVE_MOUNT, _MOUNT_SETATTR = 428, 429, 442
"""Numbers of system calls, the same for every processor; glibc has had functions since 2.36."""
_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_CLONE, _CLOSE_ON_EXEC = 1, os.O_CLOEXEC
_FROM_THE_FILE = 4
_READ_ONLY, _NO_SETUID, _NO_DEVICES, _MAPPED = 0x1, 0x2, 0x4, 0x100000

_libc = ctypes.CDLL(None, use_errno=True)


class _Attributes(ctypes.Structure):
    """`struct mount_attr`, four numbers of 64 bits."""

    _fields_ = (
        ("set", ctypes.c_uint64),
        ("clear", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("user_namespace", ctypes.c_uint64),
    )


def mapped_mount(directory: Path, user_namespace: int) -> int:
    """A read-only mount of a directory, attached nowhere, as an open file.

    Needs CAP_SYS_ADMIN where the file system was mounted.

    Args:
        directory: The directory; what is mounted below it is left out.
        user_namespace: An open file of the namespace: its numbers are the owners that are seen.

    Raises:
        OSError: The kernel refused, or the file system has no mapped mounts.
    """
    found = _call(_OPEN_TREE, _AT_FDCWD, str(directory).encode(), _CLONE | _CLOSE_ON_EXEC)
    attributes = _Attributes(
        set=_READ_ONLY | _NO_SETUID | _NO_DEVICES | _MAPPED, user_namespace=user_namespace
    )
    size = ctypes.sizeof(attributes)
    try:
        _call(_MOUNT_SETATTR, found, b"", _AT_EMPTY_PATH, ctypes.byref(attributes), size)
    except OSError:
        os.close(found)
        raise
    return found


def attach(mount: int, target: Path) -> None:
    """Attach a mount to a directory of this process's own mounts.

    Raises:
        OSError: The kernel refused.
    """
    _call(_MOVE_MOUNT, mount, b"", _AT_FDCWD, str(target).encode(), _FROM_THE_FILE)


def _call(number: int, *arguments: object) -> int:
    plain = [ctypes.c_long(one) if isinstance(one, int) else one for one in arguments]
    result = int(_libc.syscall(ctypes.c_long(number), *plain))
    if result < 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return result
