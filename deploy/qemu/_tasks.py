"""Tasks around a running guest: `boot.up`, `boot.down`, `boot.console`, `boot.status`."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from deploy.qemu import release, vm
from deploy.qemu.console import console_tail
from deploy.qemu.machine import Accelerator
from supply_chain.front import told, whole_number
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace

PORT = 8443
"""Where a guest is asked that nobody gave another port."""

_ROOT = Path(__file__).resolve().parents[2]


def _guest_directory() -> Path:
    return release.guest_directory(Workspace.at(_ROOT, os.environ))


@task(
    help={
        "port": "the port of 127.0.0.1; 0 takes a free one",
        "accelerator": "tcg, kvm or auto",
        "secure_boot": "the image in build/secure-boot, on a machine with its keys",
    }
)
@told()
def up(
    _context: Context,
    port: str = str(PORT),
    accelerator: str = "tcg",
    secure_boot: bool = False,
) -> None:
    """Boot the release in dist/release and wait until it answers."""
    number = whole_number(port, "port", least=0, most=65535)
    if accelerator not in {*Accelerator, "auto"}:
        raise Exit(f"--accelerator: expected tcg, kvm or auto, got {accelerator!r}", code=1)
    workspace, progress = Workspace.at(_ROOT, os.environ), ConsoleProgress()
    with workspace.exclusive(progress):
        guest = release.boot_release(
            workspace,
            now=datetime.now(UTC),
            port=number or None,
            accelerator=None if accelerator == "auto" else Accelerator(accelerator),
            secure_boot=secure_boot,
            progress=progress,
        )
    print(f"the guest answers at {guest.url}; its console: {guest.console}")


@task
@told()
def down(_context: Context) -> None:
    """End the guest that boot.up started, and nothing else."""
    print("the guest was ended" if vm.down(_guest_directory()) else "no guest was running")


@task(help={"lines": "how many of the last lines"})
@told()
def console(_context: Context, lines: str = "50") -> None:
    """Show the last lines that the guest wrote to its console."""
    number = whole_number(lines, "lines", least=1, most=100_000)
    guest = vm.read_guest(_guest_directory())
    if guest is None:
        raise Exit("no guest was started; start one: invoke boot.up", code=1)
    print("\n".join(console_tail(guest.console, number)))


@task
@told()
def status(_context: Context) -> None:
    """Tell whether a guest runs, since when and where."""
    directory = _guest_directory()
    guest = vm.read_guest(directory)
    if guest is None or not vm.is_running(directory):
        print("no guest is running")
        return
    health = "answers" if vm.is_healthy(guest) else "does not answer"
    print(f"a guest runs since {guest.started:%Y-%m-%d %H:%M:%S} UTC and {health} at {guest.url}")


ns = Collection("boot", up, down, console, status)
