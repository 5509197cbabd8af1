"""Run by the guest's own Python: namespaces are made by root, and entered by the user they are for.

`python3 -I pod_namespaces.py FIRST` prints a JSON object of what that user was before it entered them
(`before`) and is after it (`inside`), and what the kernel then refused to it, by the error's name.
"""

import ctypes
import errno
import json
import os
import socket
import sys
from pathlib import Path

from os_image.guest.namespaces import (
    enter,
    make_namespaces,
    peer_user,
    receive_namespaces,
    send_namespaces,
)
from os_image.guest.numbers import EACH

_NO_SETUID_FIXUP, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 1 << 2, 28, 38
_libc = ctypes.CDLL(None, use_errno=True)


def standing() -> dict[str, object]:
    """Who this process is: its user, how many capabilities it has, and its numbers."""
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":", 1) for line in lines)
    return {
        "uid": os.getuid(),
        "effective": int(status["CapEff"], 16).bit_count(),
        "map": " ".join(Path("/proc/self/uid_map").read_text().split()),
    }


def refused(attempt: object) -> str | None:
    """The name of the error with which something ends."""
    try:
        attempt()  # type: ignore[operator]
    except OSError as error:
        return errno.errorcode[error.errno or 0]
    return None


def be_the_pod(first: int, path: str, others: int) -> None:
    """Come for the namespaces, enter them, and tell."""
    machine = os.open("/proc/self/ns/net", os.O_RDONLY)
    Path("/tmp/secret").write_text("of root")
    Path("/tmp/secret").chmod(0o600)
    os.setgroups([])
    os.setresgid(first, first, first)
    os.setresuid(first, first, first)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    before = standing()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        enter(receive_namespaces(connection))
    inside = standing()
    inside["interfaces"] = [name for _, name in socket.if_nameindex()]
    inside["refused"] = {
        "another's namespace": refused(lambda: os.setns(others, 0)),  # type: ignore[attr-defined]
        "the machine's network": refused(lambda: os.setns(machine, 0)),  # type: ignore[attr-defined]
        "a file of root's": refused(Path("/tmp/secret").read_text),
        "a number outside": refused(lambda: os.setresuid(EACH, EACH, EACH)),
    }
    print(json.dumps({"before": before, "inside": inside}))  # noqa: T201 - this is a command


def main(first: int) -> None:
    """Make both pods' namespaces as the guest does, and hand one's over."""
    _libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
    mine, others = make_namespaces(first, EACH), make_namespaces(first + EACH, EACH)
    path = "/tmp/pods.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        Path(path).chmod(0o666)
        listener.listen()
        listener.settimeout(10)
        child = os.fork()
        if child == 0:
            # What the unit of a pod does not inherit: who makes namespaces keeps its privileges.
            _libc.prctl(_PR_SET_SECUREBITS, 0, 0, 0, 0)
            be_the_pod(first, path, others.user)
            sys.stdout.flush()
            os._exit(0)
        connection, _ = listener.accept()
        with connection:
            if peer_user(connection) == first:
                send_namespaces(connection, mine)
    _, status = os.waitpid(child, 0)
    raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(int(sys.argv[1]))
