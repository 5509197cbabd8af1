"""Tasks about pinned inputs: `lock.update` and `inputs.fetch`."""

from __future__ import annotations

import os
from pathlib import Path

from invoke import Collection, Context, task

from supply_chain.front import told
from supply_chain.inputs import fetch
from supply_chain.inputs.debian import Archives
from supply_chain.inputs.lock import (
    LOCK_NAME,
    WISHES_NAME,
    lock_text,
    read_lock,
    read_wishes,
)
from supply_chain.inputs.store import Store
from supply_chain.inputs.update import resolve_lock, told_changes
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace, replace_file

ROOT = Path(__file__).resolve().parent.parent


@task
@told()
def update(_context: Context) -> None:
    """Refresh inputs.lock.toml from inputs.toml and the archives as they are today."""
    workspace = Workspace.at(ROOT, os.environ)
    target = ROOT / LOCK_NAME
    old = read_lock(target) if target.exists() else None
    new = resolve_lock(
        read_wishes(ROOT / WISHES_NAME),
        archives=Archives.of_machine(os.environ),
        folder=workspace.cache / "apt",
        old=old,
        store=Store(workspace.store),
        environ=os.environ,
        progress=ConsoleProgress(),
    )
    replace_file(target, lock_text(new).encode())
    for line in told_changes(old, new):
        print(line)


@task(iterable=["only"])
@told()
def fetch_inputs(_context: Context, only: list[str]) -> None:
    """Fetch every locked input into the store, or those of the sets named by --only."""
    store = Store(Workspace.at(ROOT, os.environ).store)
    lock = read_lock(ROOT / LOCK_NAME)
    fetch(lock, only, store, ConsoleProgress(), environ=os.environ)
    print(f"{len(lock.inputs(*only))} inputs are in {store.root}")


lock_tasks = Collection("lock", update=update)
input_tasks = Collection("inputs", fetch=fetch_inputs)
