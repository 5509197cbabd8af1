"""Run by the guest's own Python: a place is made by root, and taken by the user whom it is for.

`python3 -I pod_place.py FIRST` prints a JSON object of what that user was before it entered the place
(`before`) and is after it (`inside`), what the kernel then refused to it, by the error's name, and who
owns what root owns on the disk (`images`).
"""

import ctypes
import errno
import json
import os
import socket
import sys
from pathlib import Path

from os_image.guest.mapped_mount import attach
from os_image.guest.numbers import EACH
from os_image.guest.place import Place, enter, make_place, peer_user, receive_place, send_place

_NO_SETUID_FIXUP, _PR_SET_SECUREBITS, _PR_SET_NO_NEW_PRIVS = 1 << 2, 28, 38
STORE, MINE, OTHERS = (Path("/run") / name for name in ("store", "mine", "others"))
"""What lies on a disk, and where one pod and another attach it."""
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


def be_the_pod(first: int, path: str, other: Place) -> None:
    """Come for the place, enter it, and tell."""
    machine = os.open("/proc/self/ns/net", os.O_RDONLY)
    Path("/tmp/secret").write_text("of root")
    Path("/tmp/secret").chmod(0o600)
    os.setgroups([])
    os.setresgid(first, first, first)
    os.setresuid(first, first, first)
    _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    before = standing()
    on_the_disk = (STORE / "file").stat().st_uid
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        place = receive_place(connection)
    enter(place)
    inside = standing()
    inside["interfaces"] = [name for _, name in socket.if_nameindex()]
    inside["refused"] = {
        "another's namespace": refused(lambda: os.setns(other.user, 0)),  # type: ignore[attr-defined]
        "the machine's network": refused(lambda: os.setns(machine, 0)),  # type: ignore[attr-defined]
        "a file of root's": refused(Path("/tmp/secret").read_text),
        "a number outside": refused(lambda: os.setresuid(EACH, EACH, EACH)),
    }
    for mount, target in ((place.images, MINE), (other.images, OTHERS)):
        attach(mount, target)
    images = {
        "on the disk": on_the_disk,
        "mine": (MINE / "file").stat().st_uid,
        "another's": (OTHERS / "file").stat().st_uid,
        "written": refused((MINE / "new").touch),
    }
    found = {"before": before, "inside": inside, "images": images}
    print(json.dumps(found))  # noqa: T201 - this is a command


def main(first: int) -> None:
    """Make both pods' places as the guest does, and hand one over."""
    _libc.prctl(_PR_SET_SECUREBITS, _NO_SETUID_FIXUP, 0, 0, 0)
    for directory in (STORE, MINE, OTHERS):
        directory.mkdir()
    (STORE / "file").touch()
    mine, other = make_place(first, EACH, STORE), make_place(first + EACH, EACH, STORE)
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
            be_the_pod(first, path, other)
            sys.stdout.flush()
            os._exit(0)
        connection, _ = listener.accept()
        with connection:
            if peer_user(connection) == first:
                send_place(connection, mine)
    _, status = os.waitpid(child, 0)
    raise SystemExit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(int(sys.argv[1]))
