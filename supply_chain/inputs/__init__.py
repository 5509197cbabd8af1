"""Pinned inputs: the lock that names them, the store that keeps them, the trees made of them.

This package is the only part of a build that uses the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from supply_chain.errors import FetchError
from supply_chain.inputs.debian import Archives, fetch_debian
from supply_chain.inputs.lock import DebianPackage, PlainFile, Wheel
from supply_chain.inputs.wheel import fetch_wheels
from supply_chain.workspace import held

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from supply_chain.inputs.lock import Input, Lock
    from supply_chain.inputs.store import Store
    from supply_chain.progress import Progress


def fetch(
    lock: Lock,
    names: Sequence[str],
    store: Store,
    progress: Progress,
    *,
    environ: Mapping[str, str],
    offline: bool = False,
) -> None:
    """Every input of some sets and wheels is in the store; nothing is asked for twice.

    When all of it is there, neither the network nor apt's configuration is looked at.

    Args:
        lock: What to fetch, by digest.
        names: Names of sets and wheels; everything when empty.
        store: Where it goes.
        progress: Told about what takes long.
        environ: The settings: mirrors, pip's options, proxies.
        offline: Ask nobody; what is missing is an error.

    Raises:
        DigestMismatchError: Other bytes are served; nothing of them is kept.
        FetchError: An input cannot be had.
        LockError: The lock holds no set or wheel of that name.
    """
    fetch_inputs(lock.inputs(*names), store, progress, lock=lock, environ=environ, offline=offline)


def fetch_inputs(
    wanted: Iterable[Input],
    store: Store,
    progress: Progress,
    *,
    lock: Lock,
    environ: Mapping[str, str],
    offline: bool = False,
) -> None:
    """Some inputs of a lock are in the store; as `fetch`, which takes all of a set.

    Raises:
        DigestMismatchError: Other bytes are served; nothing of them is kept.
        FetchError: An input cannot be had.
    """
    wanted = tuple(wanted)
    missing = [item for item in wanted if not store.has(item.sha256)]
    if not missing:
        return
    if offline:
        raise _not_fetched(missing)
    for item in missing:
        if isinstance(item, PlainFile):
            raise FetchError(
                f"{item.title}: expected in the store, since no archive has it, got none; get the "
                f"file and run `./do invoke inputs.add FILE --name {item.name} "
                f"--version {item.version}`"
            )
    # Two runs that share a store would write the same unfinished downloads.
    with held(
        store.root.with_name(f"{store.root.name}.lock"),
        progress,
        "another run that fetches into the same store",
    ):
        missing = [item for item in wanted if not store.has(item.sha256)]
        debs = [item for item in missing if isinstance(item, DebianPackage)]
        if debs:
            archives = Archives.of_machine(environ)
            fetch_debian(debs, store, lock=lock, archives=archives, progress=progress)
        wheels = [item for item in missing if isinstance(item, Wheel)]
        fetch_wheels(wheels, store, environ=environ, progress=progress)


def _not_fetched(missing: Sequence[Input]) -> FetchError:
    rest = len(missing) - 1
    others = f" and {rest} other input{'s' if rest > 1 else ''}" if rest else ""
    return FetchError(
        f"{missing[0].title}{others} of the lock: expected in the store, since --offline asks "
        "nobody, got none; run `./do invoke inputs.fetch` once with a network"
    )
