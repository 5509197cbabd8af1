"""Gives each pod of the application a place of its own, and has systemd start it there.

What needs privileges is here and does not run containers; what runs containers (`pod`) has none.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from ipaddress import IPv4Address
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app_description import POD_NETWORK, read_app_description
from os_image.guest.errors import AppError, GuestError
from os_image.guest.numbers import EACH, first_number
from os_image.guest.place import Place, make_place, peer_user, send_place

BRIDGE = "bl0"
"""The interface of the guest that the packet filter calls pods."""
GATEWAY = f"{POD_NETWORK[1]}/{POD_NETWORK.prefixlen}"
INSIDE = "eth0"
"""What a pod's own interface is called."""

_PATIENCE_S = 240.0
"""Until each pod has come for its place."""
_ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8"}

Run = Callable[[Sequence[str], str, int | None], None]
"""Runs a command with a text as its input and a file descriptor open; raises when it fails."""


def bridge_commands() -> str:
    """What makes the bridge, for `ip -batch`."""
    return (
        f"link add {BRIDGE} type bridge\naddress add {GATEWAY} dev {BRIDGE}\nlink set {BRIDGE} up\n"
    )


def link_commands(index: int, address: str, network: int) -> str:
    """What joins a pod's network namespace, an open file, to the bridge, for `ip -batch`.

    The disk's `network.nft` names the link with these addresses, and no others pass.
    """
    # 02: of nobody's range, and one station's.
    hardware = (b"\2\0" + IPv4Address(address).packed).hex(":")
    return (
        f"link add pod{index} type veth"
        f" peer name {INSIDE} address {hardware} netns /proc/self/fd/{network}\n"
        f"link set pod{index} master {BRIDGE} up\n"
    )


def prepare_pods(
    root: Path, *, run: Run, make: Callable[[int, int, Path], Place] = make_place
) -> Mapping[int, Place]:
    """What waits for each pod of the application whose disk is mounted at `root`, by its user.

    Args:
        root: Where the disk is mounted.
        run: Runs a command.
        make: Makes a place for a number and those after it, with the images of a directory.

    Raises:
        AppError: The description does not fit this image, or a command failed.
    """
    app = read_app_description(root / "app.json")
    # What the application's policies let pass, before there is anybody whom it could concern: pods
    # among themselves and the ingress to them. The image's rules stand, so nothing else is opened.
    run(["/usr/sbin/nft", "-f", str(root / "network.nft")], "", None)
    run(ip_argv(), bridge_commands(), None)
    found = {}
    for index, pod in enumerate(app.pods):
        first = first_number(index)
        made = found[first] = make(first, EACH, root / "images")
        run(ip_argv(), link_commands(index, pod.address, made.network), made.network)
    return found


def ip_argv() -> list[str]:
    """The command that reads commands about interfaces from its input."""
    return ["/usr/bin/ip", "-batch", "-"]


def start_argv(pods: int) -> list[str]:
    """The command that has systemd start the units of so many pods, without waiting for them."""
    units = [f"blindllama-pod@{index}.service" for index in range(pods)]
    return ["/usr/bin/systemctl", "start", "--no-block", *units]


def hand_over(listener: socket.socket, prepared: Mapping[int, Place]) -> None:
    """Give each pod what waits for it, once, by the user that comes for it.

    Raises:
        AppError: One did not come in time.
    """
    waiting = dict(prepared)
    while waiting:
        try:
            connection, _ = listener.accept()
        except TimeoutError as error:
            missing = ", ".join(map(str, sorted(waiting)))
            raise AppError(f"pods: expected all to come, those of {missing} did not") from error
        with connection:
            made = waiting.pop(peer_user(connection), None)
            if made is not None:
                send_place(connection, made)
                made.close()


def _run(argv: Sequence[str], text: str, inherited: int | None) -> None:
    completed = subprocess.run(
        argv,
        env=_ENVIRONMENT,
        input=text.encode("ascii"),
        pass_fds=() if inherited is None else (inherited,),
        check=False,
    )
    if completed.returncode != 0:
        raise AppError(f"{argv[0]}: expected exit status 0, got {completed.returncode}")


def main() -> int:
    """Starts the application of this machine; 1 when a pod's place cannot be made."""
    os.umask(0o022)
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(runtime.PODS_SOCKET))
            # Each pod is another user; who comes is told by the kernel.
            runtime.PODS_SOCKET.chmod(0o666)
            listener.listen()
            listener.settimeout(_PATIENCE_S)
            prepared = prepare_pods(runtime.APP_ROOT, run=_run)
            _run(start_argv(len(prepared)), "", None)
            hand_over(listener, prepared)
    except (GuestError, OSError) as error:
        print(f"app failed: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
