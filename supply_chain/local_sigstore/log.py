"""An append-only log on disk: what it has acknowledged survives crashes and other writers.

The file holds one JSON object on each line. An append takes the lock file, reads what other
processes have added meanwhile, writes its line and flushes it to the disk before it returns. A
writer that is killed half-way leaves a line without its end; nobody was told that it exists, and
the next writer cuts it off. A second small file remembers size and root of the tree after each
append, so that a log that was shortened or edited is refused instead of silently continued.
"""

from __future__ import annotations

import base64
import json
import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supply_chain.local_sigstore.keys import (
    LocalSigstoreError,
    locked,
    private_folder,
    sync_folder,
    write_secret,
)
from supply_chain.local_sigstore.merkle import MerkleTree, leaf_hash

if TYPE_CHECKING:
    from pathlib import Path

ENTRIES = "entries.jsonl"
HEAD = "head.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One entry of the log."""

    index: int
    """Its position, counted from zero."""
    leaf: bytes
    """The bytes whose hash is the Merkle leaf."""
    time_s: int
    """When it was integrated, in seconds since 1970."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inclusion:
    """A record together with the proof that a tree of a given size holds it."""

    record: Record
    tree_size: int
    root: bytes
    siblings: tuple[bytes, ...]


class AppendOnlyLog:
    """A Merkle log in a folder of its own; safe to use from many threads and processes."""

    def __init__(self, folder: Path) -> None:
        """Open the log, which is made when it is missing, and read what it holds.

        Raises:
            LocalSigstoreError: The log on disk was shortened or edited.
        """
        self._folder = private_folder(folder)
        self._thread_lock = threading.Lock()
        self._tree = MerkleTree()
        self._records: list[Record] = []
        self._index_of: dict[bytes, int] = {}
        self._offset = 0
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            self._check_head()

    def append(self, leaf: bytes, time_s: int) -> Inclusion:
        """Add a leaf; when this returns, the leaf is on disk."""
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            self._write(leaf, time_s)
            self._write_head()
            return self._inclusion(len(self._records) - 1)

    def append_if_empty(self, leaf: bytes, time_s: int) -> None:
        """Add the first leaf, unless the log, on disk, already has one."""
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            if not self._records:
                self._write(leaf, time_s)
                self._write_head()

    def at(self, index: int) -> Inclusion | None:
        """The record at an index, proven in the tree as it is now; None when there is none."""
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            return self._inclusion(index) if 0 <= index < len(self._records) else None

    def find(self, hashed_leaf: bytes) -> Inclusion | None:
        """The first record with this leaf hash, or None."""
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            index = self._index_of.get(hashed_leaf)
            return None if index is None else self._inclusion(index)

    def head(self) -> tuple[int, bytes]:
        """The number of leaves and the root over them."""
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            return len(self._tree), self._tree.root()

    def leaves(self, begin: int, end: int) -> list[bytes]:
        """The leaves from one index to before another.

        Raises:
            ValueError: The log does not reach as far.
        """
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            if not 0 <= begin < end <= len(self._records):
                raise ValueError(
                    f"leaves: expected 0 to {len(self._records)}, got {begin} to {end}"
                )
            return [record.leaf for record in self._records[begin:end]]

    def nodes(self, level: int, begin: int, end: int) -> list[bytes]:
        """The roots of complete subtrees of 2**level leaves, from one to before another.

        Raises:
            ValueError: The tree does not reach as far.
        """
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            return self._tree.nodes(level, begin, end)

    def consistency(self, old: int, size: int) -> list[bytes]:
        """The proof that the tree of `old` leaves is a prefix of the one of `size` leaves.

        Raises:
            ValueError: A size is zero or beyond the log.
        """
        with self._thread_lock, locked(self._folder / "lock"):
            self._catch_up()
            return self._tree.consistency_proof(old, size)

    def _inclusion(self, index: int) -> Inclusion:
        return Inclusion(
            record=self._records[index],
            tree_size=len(self._tree),
            root=self._tree.root(),
            siblings=tuple(self._tree.inclusion_proof(index)),
        )

    def _catch_up(self) -> None:
        """Read the lines that were added since the last look; cut off a torn last line."""
        path = self._folder / ENTRIES
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            if file.seek(0, os.SEEK_END) < self._offset:
                raise LocalSigstoreError(f"{path} was shortened while in use")
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(self._offset)
                    break
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            document = json.loads(line)
            leaf = base64.b64decode(document["leaf"], validate=True)
            time_s = int(document["time"])
        except (ValueError, KeyError, TypeError) as exc:
            raise LocalSigstoreError(
                f"{self._folder / ENTRIES}: line {len(self._records) + 1} is no log entry: {exc}"
            ) from exc
        hashed = leaf_hash(leaf)
        index = self._tree.append(hashed)
        self._index_of.setdefault(hashed, index)
        self._records.append(Record(index=index, leaf=leaf, time_s=time_s))
        self._offset += len(line)

    def _write(self, leaf: bytes, time_s: int) -> None:
        document = {"leaf": base64.b64encode(leaf).decode(), "time": time_s}
        line = json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        with (self._folder / ENTRIES).open("ab") as file:
            file.write(line)
            file.flush()
            os.fsync(file.fileno())
        if not self._records:
            sync_folder(self._folder)
        self._take(line)

    def _write_head(self) -> None:
        head = {"size": len(self._tree), "root": self._tree.root().hex()}
        write_secret(self._folder / HEAD, json.dumps(head).encode())

    def _check_head(self) -> None:
        path = self._folder / HEAD
        if not path.exists():
            return
        try:
            head = json.loads(path.read_bytes())
            size, root = int(head["size"]), str(head["root"])
        except (ValueError, KeyError, TypeError) as exc:
            raise LocalSigstoreError(f"{path}: expected size and root, got {exc}") from exc
        if size > len(self._tree) or self._tree.root(size).hex() != root:
            raise LocalSigstoreError(
                f"{self._folder / ENTRIES}: expected {size} entries or more with root {root}, "
                f"got {len(self._tree)} with another root: the log was shortened or edited"
            )
