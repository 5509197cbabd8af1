"""Tasks about pinned inputs: `lock.update`, `inputs.fetch` and `inputs.add`."""

from __future__ import annotations

import os
from pathlib import Path

from invoke import Collection, Context, task
from pydantic import ValidationError

from supply_chain.digest import sha256_file
from supply_chain.errors import LockError, faults
from supply_chain.front import told
from supply_chain.inputs import fetch
from supply_chain.inputs.debian import Archives
from supply_chain.inputs.lock import (
    LOCK_NAME,
    WISHES_NAME,
    PlainFile,
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


@task(
    positional=["file"],
    help={
        "file": "the file; the store gets a copy of it",
        "name": "how a specification calls it",
        "version": "which version it is, for people and for statements",
    },
)
@told()
def add(_context: Context, file: str, name: str, version: str) -> None:
    """Put a file that no archive of packages has into the lock and into the store."""
    source, target = Path(file), ROOT / LOCK_NAME
    digest = sha256_file(source)
    Store(Workspace.at(ROOT, os.environ).store).put(source, digest)
    try:
        added = PlainFile(
            name=name,
            version=version,
            filename=source.name,
            size=source.stat().st_size,
            sha256=digest,
        )
    except ValidationError as exc:
        raise LockError(f"{source.name}: {faults(exc)}") from exc
    replace_file(target, lock_text(read_lock(target).with_file(added)).encode())
    print(f"{digest.hex}  {added.title}")


lock_tasks = Collection("lock", update=update)
input_tasks = Collection("inputs", fetch=fetch_inputs, add=add)
