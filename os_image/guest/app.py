"""Starts the application's containers from the manifests on its disk.

Images, manifests and engine are read from the verity device for as long as the containers live:
nothing is pulled, loaded or copied, so nothing can differ from what PCR 15 says.
"""

import os
import subprocess
import sys
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app_description import AppDescription, read_app_description
from os_image.guest.errors import AppError, GuestError

NETWORK = "blindllama"
"""Defined by a file of the image: internal, no DNS, one bridge."""

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
        # A manifest that names an image which is not on the disk fails instead of waiting.
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


def start_app(root: Path) -> None:
    """Starts what the application's disk, mounted at `root`, describes.

    Raises:
        AppError: The description does not fit this image, or podman did not start a pod.
    """
    app = read_app_description(root / "app.json")
    for manifest in find_manifests(root / "manifests"):
        argv = play_argv(manifest, app)
        completed = subprocess.run(argv, env=_ENVIRONMENT, stdin=subprocess.DEVNULL, check=False)
        if completed.returncode != 0:
            raise AppError(
                f"app {manifest.name}: expected podman to end with 0, got {completed.returncode}"
            )


def main() -> int:
    """Starts the application of this machine; 1 when a pod does not start."""
    os.umask(0o022)
    try:
        start_app(runtime.APP_ROOT)
    except (GuestError, OSError) as error:
        print(f"app failed: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
