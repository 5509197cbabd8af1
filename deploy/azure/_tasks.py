"""Tasks around Azure: `deploy.azure.upload`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from deploy.azure import vhd
from deploy.azure.errors import AzureError, Reason
from deploy.azure.piece import data_bytes
from deploy.azure.upload import Image, upload
from supply_chain.digest import sha256_file
from supply_chain.front import told
from supply_chain.passphrase import ask_at_terminal
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace

VARIABLE = "BLINDLLAMA_AZURE_DISK"
"""The address of a disk with its signature; never an argument, which every user could read."""

_ROOT = Path(__file__).resolve().parents[2]


class _Asked:
    """Addresses of a disk: the first from the environment if it is there, later ones by asking."""

    def __init__(self, given: str | None, ask: Callable[[str], str] = ask_at_terminal) -> None:
        self._given = given
        self._ask = ask

    def __call__(self) -> str:
        given, self._given = self._given, None
        if given is not None:
            return given
        try:
            return self._ask("address of the disk, with its signature (accessSAS): ")
        except (EOFError, OSError) as exc:
            raise AzureError(
                Reason.ACCESS,
                "the disk's address is missing or its signature has expired, and there is no "
                f"terminal to ask for one; set {VARIABLE} and run the same again: it goes on",
            ) from exc


@task(
    name="upload",
    positional=["image"],
    help={
        "image": "a raw image, for example dist/release/os.img",
        "plan": "only say which size the disk must have and what would be sent",
    },
)
@told()
def upload_image(_context: Context, image: str, plan: bool = False) -> None:
    """Send a raw image to a managed disk that awaits it; again after a kill, it goes on."""
    path = Path(image)
    size = path.stat().st_size
    if plan:
        print(f"uploadSizeBytes  {vhd.upload_bytes(size)}")
        print(f"data             {data_bytes(path)} bytes at most, the rest are holes")
        return
    workspace, progress = Workspace.at(_ROOT, os.environ), ConsoleProgress()
    with progress.step(f"reading {path}"):
        digest = sha256_file(path)
    with progress.step(f"uploading {path}"):
        done = upload(
            Image(path=path, sha256=digest),
            _Asked(os.environ.get(VARIABLE)),
            journals=workspace.state / "azure" / "uploads",
            progress=progress,
        )
    print(f"image  {digest}")
    print(f"disk   {done.disk_bytes} bytes")
    print(f"sent   {done.sent_bytes} bytes now, {done.kept_bytes} in earlier runs")


ns = Collection("azure", upload_image)
