"""The lock made anew: the wishes of `inputs.toml`, resolved against the archives of today."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supply_chain.errors import LockError
from supply_chain.inputs.apt import Apt
from supply_chain.inputs.lock import LOCK_NAME, Lock
from supply_chain.inputs.wheel import resolve_wheel

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from supply_chain.inputs.debian import Archives
    from supply_chain.inputs.lock import Wishes
    from supply_chain.inputs.store import Store
    from supply_chain.progress import Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One package of one set that differs between two locks."""

    set_name: str
    package: str
    old: str
    """The version before; empty for a package that is new."""
    new: str
    """The version now; empty for a package that is gone."""

    def __str__(self) -> str:
        """The change as a person reads it."""
        return f"{self.set_name}: {self.package} {self.old or '(new)'} → {self.new or '(gone)'}"


def resolve_lock(
    wishes: Wishes,
    *,
    archives: Archives,
    folder: Path,
    old: Lock | None,
    store: Store,
    environ: Mapping[str, str],
    progress: Progress,
) -> Lock:
    """The lock that fulfils the wishes today.

    Args:
        wishes: What is asked for.
        archives: Where this machine gets Debian packages.
        folder: For apt's lists; kept, so that the next update fetches only what is new.
        old: The lock until now. What a registry serves under a version never changes,
            so a wheel of the same version keeps its digest.
        store: Receives wheels that are new.
        environ: pip's settings.
        progress: Told about what takes long.

    Raises:
        LockError: A wish cannot be fulfilled; apt's reason is in the text.
        FetchError: The package lists or a wheel cannot be had.
    """
    # In the order in which the wishes name them, so that stable ones come before moving ones.
    suites = tuple(dict.fromkeys(suite for wish in wishes.sets.values() for suite in wish.suites))
    apt = Apt(folder=folder, archives=archives, architecture=wishes.architecture, suites=suites)
    with progress.step(f"reading the package lists of {', '.join(suites)}"):
        apt.update()
    sets: dict[str, tuple[str, ...]] = {}
    for name, wish in sorted(wishes.sets.items()):
        with progress.step(f"resolving the set {name}"):
            closure = apt.closure(wish)
        if not closure:
            raise LockError(f"the set {name!r} is empty: nothing is called {wish.keep!r}")
        for path in closure:
            sets[path] = (*sets.get(path, ()), name)
    with progress.step("looking up the digests"):
        debs = apt.records(sets)
    known = {(wheel.name, wheel.version): wheel for wheel in old.wheels} if old else {}
    wheels = tuple(
        known.get((name, wish.version))
        or resolve_wheel(name, wish.version, store, environ=environ, progress=progress)
        for name, wish in sorted(wishes.wheels.items())
    )
    files = old.files if old else ()
    return Lock(version=1, archives=tuple(apt.dates()), wheels=wheels, debs=debs, files=files)


def lock_changes(old: Lock | None, new: Lock) -> list[Change]:
    """What differs between two locks, by set and package."""
    before, after = _versions(old), _versions(new)
    return [
        Change(set_name=key[0], package=key[1], old=before.get(key, ""), new=after.get(key, ""))
        for key in sorted(before.keys() | after.keys())
        if before.get(key) != after.get(key)
    ]


def told_changes(old: Lock | None, new: Lock) -> list[str]:
    """Return what an update says: a line for each change, and what the lock holds now."""
    changes = lock_changes(old, new)
    return [*map(str, changes), f"{LOCK_NAME}: {len(new.debs)} packages, {len(changes)} changes"]


def _versions(lock: Lock | None) -> dict[tuple[str, str], str]:
    if lock is None:
        return {}
    debs = {(name, deb.name): deb.version for deb in lock.debs for name in deb.sets}
    return debs | {("wheels", wheel.name): wheel.version for wheel in lock.wheels}
