"""The first program of a second build: makes its surroundings, then runs a module in them.

Run as a file by the rebuilder, with one argument that says how the world is to be. Everything in
the namespaces that it makes ends with it.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator

# Source: Linux, include/uapi/linux/sched.h and prctl.h.
CLONE_NEWNS, CLONE_NEWUTS = 0x00020000, 0x04000000
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000
PR_SET_PDEATHSIG = 1

USERS = 65536
"""Users that the namespace has: those of the packages' files are all below it."""

_libc = ctypes.CDLL(None, use_errno=True)
_listdir, _scandir = os.listdir, os.scandir


def main() -> int:
    """Return the exit status of the module that the plan names."""
    plan = json.loads(sys.argv[1])
    os.umask(plan["umask"])
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-plan["cpus"] :])
    ready, go = os.pipe(), os.pipe()
    child = os.fork()
    if child == 0:
        # Else a second build would outlive a first one that was killed.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        _enter(plan, told=ready[1], wait=go[0])
        run(plan["module"], plan["arguments"])
        return 0
    os.close(ready[1])
    if os.read(ready[0], 1) and plan["shift"]:
        for kind in ("uid", "gid"):
            # Root inside is another user outside. The real root is somebody inside, so that files
            # of its own (an interpreter in its home) can be read; root may write this map.
            _write(f"/proc/{child}/{kind}_map", f"0 {plan['shift']} {USERS}\n{USERS} 0 1\n")
    os.write(go[1], b"x")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _enter(plan: dict[str, Any], *, told: int, wait: int) -> None:
    """Enter the namespaces; the parent writes the map of users in between."""
    # No network, from the first moment on: also because a build moves into a namespace without one
    # and back, and only the owner of the one that it came from may do that.
    spaces = CLONE_NEWUTS | CLONE_NEWNS | CLONE_NEWNET
    spaces |= CLONE_NEWUSER if plan["shift"] else 0
    if _libc.unshare(spaces) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), "namespaces")
    os.write(told, b"x")
    os.read(wait, 1)
    if plan["shift"]:
        os.setresgid(0, 0, 0)
        os.setresuid(0, 0, 0)
        os.setgroups([])
        # Changing users has cleared it.
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    socket.sethostname(plan["hostname"])


def run(module: str, arguments: list[str]) -> None:
    """Run a module as `python -m` does, with every directory listed in reverse."""
    os.listdir = listdir
    os.scandir = Listing  # type: ignore[assignment] # has all that the standard library asks for
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def listdir(path: Any = ".") -> list[Any]:  # noqa: ANN401 - whatever os.listdir takes and gives
    """Return the names in a directory, the last in the alphabet first."""
    return sorted(_listdir(path), reverse=True)


class Listing:
    """What `os.scandir` returns, the last in the alphabet first."""

    def __init__(self, path: Any = ".") -> None:  # noqa: ANN401 - whatever os.scandir takes
        """Read the whole directory."""
        with _scandir(path) as entries:
            found = sorted(entries, key=lambda entry: entry.name, reverse=True)
        self._left = iter(found)

    def __iter__(self) -> Iterator[os.DirEntry[Any]]:
        """Return the entries that are left."""
        return self._left

    def __next__(self) -> os.DirEntry[Any]:
        """Return the next entry."""
        return next(self._left)

    def __enter__(self) -> Self:
        """Return itself, as `os.scandir` does."""
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def close(self) -> None:
        """Nothing is open."""


def _write(path: str, text: str) -> None:
    # In one piece, as the kernel demands.
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, text.encode())
    finally:
        os.close(descriptor)


if __name__ == "__main__":
    sys.exit(main())
