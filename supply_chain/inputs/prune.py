"""What a cache holds for a lock of the past: trees, inputs and downloads that nothing names today.

Everything of it can be had again; a cache that several checkouts share is pruned for the one that
asks, and the others fetch or unpack anew what they still need.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supply_chain.inputs.tree import tree_key
from supply_chain.workspace import held

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from supply_chain.digest import Sha256
    from supply_chain.inputs.lock import DebianPackage, Lock
    from supply_chain.inputs.store import Store

_LOCK = ".lock"


@dataclass(frozen=True, slots=True, kw_only=True)
class Stale:
    """Something in a cache that is not needed any more."""

    kind: str
    path: Path
    size: int
    """Bytes."""

    def __str__(self) -> str:
        """What a person reads about it."""
        return f"{self.kind} {self.path.name[:12]}…, {self.size >> 20} MiB"

    def remove(self) -> None:
        """Remove it; what is half removed by a kill is not taken for whole afterwards."""
        if not self.path.is_dir():
            self.path.unlink(missing_ok=True)
            return
        # A tree is whole when its name is there: the name goes first.
        with held(self.path.with_name(f"{self.path.name}{_LOCK}")):
            aside = self.path.with_name(f".{self.path.name}.stale")
            shutil.rmtree(aside, ignore_errors=True)
            self.path.replace(aside)
            shutil.rmtree(aside)
        self.path.with_name(f"{self.path.name}{_LOCK}").unlink(missing_ok=True)


def stale_trees(trees: Path, needed: Iterable[Iterable[DebianPackage]]) -> Iterator[Stale]:
    """Return the unpacked roots that are of none of these sets of packages.

    Args:
        trees: The directory of unpacked roots.
        needed: The sets of packages that are unpacked today.
    """
    names = {tree_key(packages).hex for packages in needed}
    for path in sorted(trees.iterdir()) if trees.is_dir() else ():
        if path.is_dir() and path.name.removeprefix(".").partition(".")[0] not in names:
            yield Stale(kind="tree", path=path, size=_size(path))


def stale_inputs(store: Store, lock: Lock) -> Iterator[Stale]:
    """Return what is in the store, or was on its way there, and is not in the lock."""
    needed: set[Sha256] = {item.sha256 for item in lock.inputs()}
    names = {digest.hex for digest in needed}
    for kind, pattern in (("input", "sha256/*/*"), ("download", "part/*.part")):
        for path in sorted(store.root.glob(pattern)):
            if path.is_file() and path.name.partition(".")[0] not in names:
                yield Stale(kind=kind, path=path, size=path.stat().st_size)


def _size(folder: Path) -> int:
    return sum(
        os.lstat(os.path.join(where, name)).st_size  # noqa: PTH118 - thousands of files
        for where, _folders, names in os.walk(folder)
        for name in names
    )
