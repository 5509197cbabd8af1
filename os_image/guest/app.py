"""Starts the application's containers from the manifests on its disk.

Images, manifests and engine are read from the verity device for as long as the containers live:
nothing is pulled, loaded or copied, so nothing can differ from what PCR 15 says.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app_description import Pod, read_app_description
from os_image.guest.errors import AppError, GuestError

NETWORK = "blindllama"
"""Defined by a file of the image: internal, no DNS, one bridge."""

Run = Callable[[Sequence[str]], None]
"""Runs a command to its end; raises when it fails."""

_ENVIRONMENT = {
    "PATH": "/usr/sbin:/usr/bin",
    "LC_ALL": "C.UTF-8",
    "HOME": "/root",
    "TMPDIR": "/run",
}


def play_argv(manifest: Path, pod: Pod) -> list[str]:
    """The command that starts the pod of `manifest` at its address."""
    return [
        "/usr/bin/podman",
        "kube",
        "play",
        "--quiet",
        f"--network={NETWORK}:ip={pod.address}",
        # Names in a container's hosts file would only help it to look around.
        "--no-hosts",
        # What a model server prints may hold what a caller asked.
        "--log-driver=none",
        str(manifest),
    ]


def memory_argv(target: Path, size_bytes: int) -> list[str]:
    """The command that mounts memory on `target`, for every user of the pod and for data only."""
    options = f"size={size_bytes},mode=1777,nosuid,nodev,noexec"
    return ["/usr/bin/mount", "-t", "tmpfs", "-o", options, "tmpfs", str(target)]


def start_app(root: Path, *, volumes: Path, run: Run) -> None:
    """Starts what the application's disk, mounted at `root`, describes.

    Args:
        root: Where the disk is mounted.
        volumes: Where directories in memory are made.
        run: Runs a command.

    Raises:
        AppError: The description does not fit this image, or a command failed.
    """
    app = read_app_description(root / "app.json")
    # What the application's policies let pass, before there is anybody whom it could concern: pods
    # among themselves and the ingress to them. The image's rules stand, so nothing else is opened.
    run(["/usr/sbin/nft", "-f", str(root / "network.nft")])
    for pod in app.pods:
        for name, size_bytes in pod.memory_volumes.items():
            target = volumes / pod.name / name
            target.mkdir(parents=True)
            run(memory_argv(target, size_bytes))
        run(play_argv(root / "pods" / f"{pod.name}.yaml", pod))


def _run(argv: Sequence[str]) -> None:
    completed = subprocess.run(argv, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, check=False)
    if completed.returncode != 0:
        raise AppError(f"{argv[0]}: expected exit status 0, got {completed.returncode}")


def main() -> int:
    """Starts the application of this machine; 1 when a pod does not start."""
    os.umask(0o022)
    try:
        start_app(runtime.APP_ROOT, volumes=runtime.VOLUMES, run=_run)
    except (GuestError, OSError) as error:
        print(f"app failed: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
