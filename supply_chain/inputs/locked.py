"""What every build is made from, as one value: the lock, its bytes, and the roots made of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from supply_chain.inputs.lock import LOCK_NAME, read_lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import cached_tree

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from typing import Self

    from supply_chain.inputs.lock import DebianPackage, Input, Lock
    from supply_chain.inputs.tree import Tree
    from supply_chain.workspace import Workspace


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedInputs:
    """The inputs of a lock, where they are; nothing here fetches."""

    lock: Lock
    store: Store
    trees: Path
    """The directory of unpacked roots, which are made when they are first asked for."""

    @classmethod
    def at(cls, workspace: Workspace, lock: Lock | None = None) -> Self:
        """The inputs of a workspace, by its own lock or by another one.

        Raises:
            LockError: Its lock is missing or malformed.
        """
        lock = lock or read_lock(workspace.root / LOCK_NAME)
        return cls(lock=lock, store=Store(workspace.store), trees=workspace.trees)

    def path(self, item: Input) -> Path:
        """The file of an input."""
        return self.store.path(item.sha256)

    def tree(self, name: str) -> Tree:
        """The unpacked root of one set of the lock.

        Raises:
            LockError: There is no such set.
            CommandError: A package cannot be unpacked.
        """
        return self.unpacked(self.lock.debian(name))

    def unpacked(self, packages: Iterable[DebianPackage]) -> Tree:
        """The unpacked root of some packages of the lock.

        Raises:
            CommandError: A package cannot be unpacked.
        """
        return cached_tree(packages, self.store, self.trees)
