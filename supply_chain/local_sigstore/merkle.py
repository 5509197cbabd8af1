"""The Merkle tree of a log: appending, root, inclusion and consistency proofs in logarithmic time.

Every complete subtree's hash is kept once, level by level, so that no proof ever hashes the leaves
again: 64 bytes of memory for each leaf, a few microseconds for each proof.

Source: RFC 6962, section 2.1 (and RFC 9162, section 2.1, which says the same more exactly).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a tree without leaves."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of a leaf: SHA-256(0x00 ‖ data)."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of an inner node: SHA-256(0x01 ‖ left ‖ right)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class MerkleTree:
    """An append-only tree of leaf hashes."""

    def __init__(self) -> None:
        """Start without leaves."""
        # _levels[k] holds the hashes of the complete subtrees of 2**k leaves, in order.
        self._levels: list[list[bytes]] = [[]]

    def __len__(self) -> int:
        """The number of leaves."""
        return len(self._levels[0])

    def append(self, hashed_leaf: bytes) -> int:
        """Add a leaf and return its index."""
        index = len(self)
        self._levels[0].append(hashed_leaf)
        level = 0
        while len(self._levels[level]) % 2 == 0:
            if level + 1 == len(self._levels):
                self._levels.append([])
            left, right = self._levels[level][-2:]
            self._levels[level + 1].append(node_hash(left, right))
            level += 1
        return index

    def root(self, size: int | None = None) -> bytes:
        """The root over the first `size` leaves, or over all.

        Raises:
            ValueError: The tree has fewer leaves.
        """
        size = self._checked_size(size)
        return self._subtree(0, size) if size else EMPTY_ROOT

    def nodes(self, level: int, begin: int, end: int) -> list[bytes]:
        """The roots of complete subtrees of 2**level leaves, from one to before another.

        Raises:
            ValueError: The tree does not reach as far.
        """
        row = self._levels[level] if level < len(self._levels) else []
        if not 0 <= begin < end <= len(row):
            raise ValueError(
                f"nodes of level {level}: expected 0 to {len(row)}, got {begin} to {end}"
            )
        return row[begin:end]

    def inclusion_proof(self, index: int, size: int | None = None) -> list[bytes]:
        """The siblings that lead from a leaf to the root over the first `size` leaves.

        Raises:
            ValueError: The leaf is not among them.
        """
        size = self._checked_size(size)
        if not 0 <= index < size:
            raise ValueError(f"leaf index: expected 0 to {size - 1}, got {index}")
        path: list[bytes] = []
        begin, end = 0, size
        while end - begin > 1:
            middle = begin + _split(end - begin)
            if index < middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(begin, middle))
                begin = middle
        return path[::-1]

    def consistency_proof(self, old: int, size: int | None = None) -> list[bytes]:
        """The nodes that show that the first `old` leaves are a prefix of the first `size`.

        Raises:
            ValueError: `old` is zero or larger than `size`.
        """
        size = self._checked_size(size)
        if not 0 < old <= size:
            raise ValueError(f"old tree size: expected 1 to {size}, got {old}")
        path: list[bytes] = []
        begin, end = 0, size
        # Walk down to the subtree whose right edge is the old tree's right edge.
        while old != end:
            middle = begin + _split(end - begin)
            if old <= middle:
                path.append(self._subtree(middle, end))
                end = middle
            else:
                path.append(self._subtree(begin, middle))
                begin = middle
        if begin:
            path.append(self._subtree(begin, end))
        return path[::-1]

    def _checked_size(self, size: int | None) -> int:
        if size is None:
            return len(self)
        if not 0 <= size <= len(self):
            raise ValueError(f"tree size: expected 0 to {len(self)}, got {size}")
        return size

    def _subtree(self, begin: int, end: int) -> bytes:
        """The hash over leaves `begin` to `end`; `begin` is a multiple of the next power of two."""
        width = end - begin
        if width & (width - 1) == 0:
            return self._levels[width.bit_length() - 1][begin // width]
        middle = begin + _split(width)
        return node_hash(self._subtree(begin, middle), self._subtree(middle, end))


def verify_consistency(
    old: tuple[int, bytes], new: tuple[int, bytes], proof: Sequence[bytes]
) -> None:
    """Refuse unless the tree of the old size and root is a prefix of the new one.

    Source: RFC 6962, section 2.1.2.

    Raises:
        ValueError: The proof does not show it.
    """
    (old_size, old_root), (new_size, new_root) = old, new
    if not 0 < old_size <= new_size:
        raise ValueError(
            f"tree sizes: expected one not before the other, got {old_size}, {new_size}"
        )
    nodes = list(proof)
    try:
        roots = _both_roots(old_size, new_size, old_root, nodes)
    except IndexError as exc:
        raise ValueError("consistency proof: it is too short") from exc
    if nodes:
        raise ValueError("consistency proof: it is too long")
    if roots != (old_root, new_root):
        raise ValueError("consistency proof: it leads to other roots")


def _both_roots(
    old: int, size: int, known: bytes | None, nodes: list[bytes]
) -> tuple[bytes, bytes]:
    """The hashes of a subtree before and now; nodes are taken off the end of the proof.

    Args:
        old: How many of its leaves were there before.
        size: How many are there now.
        known: The old root, in the subtrees that begin with the first leaf.
        nodes: What is left of the proof.
    """
    if old == size:
        node = nodes.pop() if known is None else known
        return node, node
    middle, sibling = _split(size), nodes.pop()
    if old <= middle:
        before, now = _both_roots(old, middle, known, nodes)
        return before, node_hash(now, sibling)
    before, now = _both_roots(old - middle, size - middle, None, nodes)
    return node_hash(sibling, before), node_hash(sibling, now)


def _split(width: int) -> int:
    """The largest power of two that is smaller than `width`."""
    return 1 << ((width - 1).bit_length() - 1)
