"""Runs one pod by podman: as a user without a single privilege, root of its own namespaces alone.

Images, manifest and engine are read from the verity device for as long as the containers live:
nothing is pulled, loaded or copied, so nothing can differ from what PCR 15 says.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app import INSIDE, ip_argv
from os_image.guest.app_description import POD_NETWORK, Pod, read_app_description
from os_image.guest.errors import AppError, GuestError
from os_image.guest.mapped_mount import attach
from os_image.guest.place import enter, receive_place

FIXED = (Path("/run/lock"), Path("/run/crun"))
"""Where podman and crun keep something whatever they are told."""
_STATE = "64m"
"""Memory for podman's own records of a pod; a container's root is never written to."""
_CONTROL_GROUPS = Path("/sys/fs/cgroup")
PROCESSES = 512
"""Of all containers of a pod together; what starts them anew is not counted."""
CONTAINERS = "libpod_parent"
"""podman's name for the group of all its containers, below which each has its own."""
_PATIENCE_S = 240.0

Run = Callable[[Sequence[str], str], None]
"""Runs a command with a text as its input to its end; raises when it fails."""


def play_argv(manifest: Path) -> list[str]:
    """The command that starts the pod of `manifest` in the namespaces of who runs it."""
    return [
        "/usr/bin/podman",
        "kube",
        "play",
        "--quiet",
        # That of this process, which is the pod's and not the guest's.
        "--network=host",
        # Names in a container's hosts file would only help it to look around.
        "--no-hosts",
        # What a model server prints may hold what a caller asked.
        "--log-driver=none",
        str(manifest),
    ]


def memory_argv(target: Path, options: str) -> list[str]:
    """The command that mounts memory on `target`, for data only."""
    return [
        "/usr/bin/mount",
        "-t",
        "tmpfs",
        "-o",
        f"{options},nosuid,nodev,noexec",
        "tmpfs",
        str(target),
    ]


def address_commands(pod: Pod) -> str:
    """What gives the pod its address, for `ip -batch`."""
    return (
        "link set lo up\n"
        f"address add {pod.address}/{POD_NETWORK.prefixlen} dev {INSIDE}\n"
        f"link set {INSIDE} up\n"
    )


def furnish(pod: Pod, home: Path, *, run: Run) -> None:
    """Make what the pod's containers need and no other process sees.

    Args:
        pod: The pod.
        home: Where podman keeps its records, and where directories in memory are.
        run: Runs a command.

    Raises:
        AppError: A command failed.
    """
    # What is mounted here stays here; what the guest mounts later is not the pod's.
    run(["/usr/bin/mount", "--make-rprivate", "/"], "")
    run(memory_argv(home, f"size={_STATE},mode=755"), "")
    for place in FIXED:
        run(memory_argv(place, "size=1m,mode=755"), "")
    (home / "images").mkdir()
    for name, size_bytes in pod.memory_volumes.items():
        target = home / "volumes" / name
        target.mkdir(parents=True)
        # For every user of the pod.
        run(memory_argv(target, f"size={size_bytes},mode=1777"), "")
    run(ip_argv(), address_commands(pod))


def take_control_group(root: Path, *, run: Run) -> None:
    """See the unit's control group as the whole, and make a limited one for those of containers.

    Only groups without processes of their own can have limits for those below them. podman has no
    limit of processes where it is not root of the machine, so this one is set here.
    """
    run(["/usr/bin/mount", "-t", "cgroup2", "-o", "nosuid,nodev,noexec", "cgroup2", str(root)], "")
    own = root / "podman"
    own.mkdir()
    (own / "cgroup.procs").write_text("0", "ascii")
    (root / "cgroup.subtree_control").write_text("+cpu +memory +pids", "ascii")
    containers = root / CONTAINERS
    containers.mkdir()
    (containers / "pids.max").write_text(str(PROCESSES), "ascii")


def environment(home: Path) -> Mapping[str, str]:
    """What podman is told beside its arguments."""
    return {
        "PATH": "/usr/sbin:/usr/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": str(home),
        "TMPDIR": str(home),
    }


def _run(argv: Sequence[str], text: str) -> None:
    completed = subprocess.run(
        argv,
        env=environment(runtime.POD),
        input=text.encode("ascii"),
        check=False,
    )
    if completed.returncode != 0:
        raise AppError(f"{argv[0]}: expected exit status 0, got {completed.returncode}")


def main(arguments: Sequence[str]) -> int:
    """Starts the pod of this number, from 0; 1 when it does not start."""
    os.umask(0o022)
    (number,) = arguments
    try:
        pod = read_app_description(runtime.APP_ROOT / "app.json").pods[int(number)]
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(_PATIENCE_S)
            connection.connect(str(runtime.PODS_SOCKET))
            place = receive_place(connection)
        enter(place)
        furnish(pod, runtime.POD, run=_run)
        attach(place.images, runtime.POD / "images")
        place.close()
        take_control_group(_CONTROL_GROUPS, run=_run)
        _run(play_argv(runtime.APP_ROOT / "pods" / f"{pod.name}.yaml"), "")
    except (GuestError, OSError) as error:
        print(f"pod {number} failed: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
