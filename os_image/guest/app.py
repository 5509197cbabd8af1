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
from os_image.guest.app_description import AppDescription, read_app_description
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


def play_argv(manifest: Path, app: AppDescription) -> list[str]:
    """The command that starts the pods of `manifest` at the application's address."""
    return [
        "/usr/bin/podman",
        "kube",
        "play",
        "--quiet",
        f"--network={NETWORK}:ip={app.address}",
        # Names in a container's hosts file would only help it to look around.
        "--no-hosts",
        # What a model server prints may hold what a caller asked.
        "--log-driver=none",
        str(manifest),
    ]


def find_manifests(folder: Path) -> tuple[Path, ...]:
    """The manifests in `folder`, in the order of their names.

    Raises:
        AppError: There is none.
    """
    found = tuple(sorted(folder.glob("*.yaml")))
    if not found:
        raise AppError("app: expected at least one manifest on the disk, got none")
    return found


def start_app(root: Path, *, run: Run) -> None:
    """Starts what the application's disk, mounted at `root`, describes.

    Raises:
        AppError: The description does not fit this image, or a command failed.
    """
    app = read_app_description(root / "app.json")
    # The application's own policy, before there is anybody whom it could concern. It can only
    # drop: the image's rules stand beside it.
    run(["/usr/sbin/nft", "-f", str(root / "network.nft")])
    for manifest in find_manifests(root / "manifests"):
        run(play_argv(manifest, app))


def _run(argv: Sequence[str]) -> None:
    completed = subprocess.run(argv, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, check=False)
    if completed.returncode != 0:
        raise AppError(f"{argv[0]}: expected exit status 0, got {completed.returncode}")


def main() -> int:
    """Starts the application of this machine; 1 when a pod does not start."""
    os.umask(0o022)
    try:
        start_app(runtime.APP_ROOT, run=_run)
    except (GuestError, OSError) as error:
        print(f"app failed: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
