"""Inside new namespaces: makes a locked tree the root and runs a program there.

Started by `Tree.run` as the first process of its PID namespace; imports nothing of this
project, since it is run as a file by an isolated interpreter.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import warnings  # noqa: F401 - os.execvp imports it, too late: the interpreter's root is gone by then
from pathlib import Path

# Source: Linux, include/uapi/linux/mount.h.
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC, MS_PRIVATE = 32, 4096, 8192, 16384, 1 << 18

DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
ACCOUNTS = {"passwd": "passwd.master", "group": "group.master"}
# Links that update-alternatives would make in a package's script.
ALTERNATIVES = {"awk": ("mawk", "gawk"), "which": ("which.debianutils",)}
EXIT_NOT_STARTED = 127

_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str = "", flags: int = 0, options: str = "") -> None:
    """The source is mounted at the target."""
    done = _libc.mount(
        source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), options.encode()
    )
    if done != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), target)


def bind(descriptor: int, target: str, *, read_only: bool) -> None:
    """What a descriptor points at is mounted at the target."""
    mount(f"/proc/self/fd/{descriptor}", target, flags=MS_BIND | MS_REC)
    if read_only:
        mount("", target, flags=MS_BIND | MS_REMOUNT | MS_RDONLY)


def make_place(target: Path, *, directory: bool) -> None:
    """There is something at the target that can be mounted over."""
    if directory:
        target.mkdir(parents=True, exist_ok=True)
    elif not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch()


def enter(tree: str, binds: list[tuple[str, str, bool]]) -> None:
    """The tree, with a layer for writing that vanishes, is this process's root."""
    mount("none", "/", flags=MS_REC | MS_PRIVATE)
    # Descriptors first: the mounts below hide the tree's own path, and perhaps other ones.
    lower = os.open(tree, os.O_PATH)
    sources = [
        (os.open(host, os.O_PATH), Path(host).is_dir(), inside, read_only)
        for host, inside, read_only in binds
    ]
    devices = {name: os.open(f"/dev/{name}", os.O_PATH) for name in DEVICES}
    mount("layer", tree, "tmpfs", options="mode=0755")
    base = Path(tree)
    for name in ("upper", "work", "root"):
        (base / name).mkdir()
    root = base / "root"
    layers = f"lowerdir=/proc/self/fd/{lower},upperdir={base}/upper,workdir={base}/work"
    mount("root", str(root), "overlay", options=layers)

    for name, options in {"dev": "mode=0755", "tmp": "mode=1777", "run": "mode=0755"}.items():
        make_place(root / name, directory=True)
        mount(name, str(root / name), "tmpfs", options=options)
    make_place(root / "proc", directory=True)
    mount("proc", str(root / "proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for name, descriptor in devices.items():
        make_place(root / "dev" / name, directory=False)
        bind(descriptor, str(root / "dev" / name), read_only=False)
    for name in ("pts", "shm"):
        (root / "dev" / name).mkdir()
    mount("pts", f"{root}/dev/pts", "devpts", options="newinstance,ptmxmode=0666,mode=0620")
    mount("shm", str(root / "dev" / "shm"), "tmpfs", options="mode=1777")
    for name, points_to in {
        "ptmx": "pts/ptmx",
        "fd": "/proc/self/fd",
        "stdin": "/proc/self/fd/0",
        "stdout": "/proc/self/fd/1",
        "stderr": "/proc/self/fd/2",
    }.items():
        (root / "dev" / name).symlink_to(points_to)
    for descriptor, directory, inside, read_only in sources:
        target = root / inside.lstrip("/")
        make_place(target, directory=directory)
        bind(descriptor, str(target), read_only=read_only)
    complete(root)

    # As switch_root does: moved over /, so that it is a true root and nothing lies above it.
    os.chdir(root)
    mount(".", "/", flags=MS_MOVE)
    os.chroot(".")
    os.chdir("/")


def complete(root: Path) -> None:
    """What packages' scripts would have made and most programs rely on is there."""
    for name, master in ACCOUNTS.items():
        source = root / "usr/share/base-passwd" / master
        if source.exists() and not (root / "etc" / name).exists():
            shutil.copyfile(source, root / "etc" / name)
    for name, choices in ALTERNATIVES.items():
        link = root / "usr/bin" / name
        chosen = [choice for choice in choices if (link.parent / choice).exists()]
        if chosen and not link.is_symlink() and not link.exists():
            link.symlink_to(chosen[0])


def supervise(argv: list[str]) -> int:
    """The exit status of the program; orphans are reaped, as the first process must."""
    child = os.fork()
    if child == 0:
        try:
            os.execvp(argv[0], argv)  # noqa: S606 - the argv that Tree.run was given
        except OSError as exc:
            sys.stderr.write(f"{argv[0]}: {exc.strerror}\n")
            os._exit(EXIT_NOT_STARTED)
    while True:
        ended, status = os.wait()
        if ended == child:
            return os.waitstatus_to_exitcode(status)


def main() -> None:
    """Do what the plan in the one argument says."""
    plan = json.loads(sys.argv[1])
    os.umask(0o022)
    enter(plan["root"], plan["binds"])
    code = supervise(plan["argv"])
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    main()
