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
from deploy.qemu.machine import Accelerator
from supply_chain.errors import BuildError
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace

PORT = 8443
"""Where a guest is asked that nobody gave another port."""

_ROOT = Path(__file__).resolve().parents[2]


def _guest_directory() -> Path:
    return release.guest_directory(Workspace.at(_ROOT, os.environ))


@task(help={"port": "the port of 127.0.0.1; 0 takes a free one", "accelerator": "tcg, kvm or auto"})
def up(_context: Context, port: int = PORT, accelerator: str = "tcg") -> None:
    """Boot the release in dist/release and wait until it answers."""
    workspace = Workspace.at(_ROOT, os.environ)
    try:
        guest = release.boot_release(
            workspace,
            now=datetime.now(UTC),
            port=port or None,
            accelerator=None if accelerator == "auto" else Accelerator(accelerator),
            progress=ConsoleProgress(),
        )
    except (BuildError, ValueError) as exc:
        raise Exit(str(exc), code=1) from exc
    print(f"the guest answers at {guest.url}; its console: {guest.console}")


@task
def down(_context: Context) -> None:
    """End the guest that boot.up started, and nothing else."""
    print("the guest was ended" if vm.down(_guest_directory()) else "no guest was running")


@task(help={"lines": "how many of the last lines"})
def console(_context: Context, lines: int = 50) -> None:
    """Show the last lines that the guest wrote to its console."""
    guest = vm.read_guest(_guest_directory())
    if guest is None:
        raise Exit("no guest was started; start one: invoke boot.up", code=1)
    print("\n".join(vm.console_tail(guest, lines)))


@task
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
