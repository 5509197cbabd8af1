"""Nonces of several callers under one quote: a Merkle tree, seen from one leaf.

    leaf = SHA-256(0x00 ‖ nonce)            node = SHA-256(0x01 ‖ left ‖ right)

An odd node is promoted to the next level unchanged, never doubled, so that no two lists of leaves
have the same root. The two prefixes keep a node from being passed off as a leaf (ATTACKS, Q6).

Source: RFC 6962, section 2.1 (the tree); RFC 9162, section 2.1.3.2 (the walk up).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from blindllama.errors import Code, FreshnessError, UsageError

__all__ = ["MOST_LEAVES", "NONCE_SIZE_BYTES", "NoncePath", "leaf_hash", "nonce_tree_root"]

NONCE_SIZE_BYTES: Final = 32
HASH_SIZE_BYTES: Final = 32

MOST_LEAVES: Final = 1 << 16
"""More callers than one quote ever answers; it bounds the path to 16 hashes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoncePath:
    """Where a caller's nonce hangs in the tree, as the server claims it."""

    index: int
    """Number of the leaf, from 0."""
    leaves: int
    """How many leaves the tree has."""
    siblings: tuple[bytes, ...]
    """The 32-byte neighbours on the way up, lowest first."""


def leaf_hash(nonce: bytes) -> bytes:
    """Return the 32-byte leaf of a 32-byte nonce.

    Raises:
        UsageError: the nonce is not 32 bytes long.
    """
    if len(nonce) != NONCE_SIZE_BYTES:
        raise UsageError(f"nonce; expected {NONCE_SIZE_BYTES} bytes; got {len(nonce)}")
    return hashlib.sha256(b"\x00" + nonce).digest()


def nonce_tree_root(nonce: bytes, path: NoncePath) -> bytes:
    """Return the 32-byte root of the tree in which the nonce hangs at this path.

    A path of the right shape with wrong hashes gives another root, which no quote holds.

    Raises:
        FreshnessError: `quote.nonce_path` when no tree of that many leaves has such a path.
        UsageError: the nonce is not 32 bytes long.
    """
    root = leaf_hash(nonce)
    if not 0 <= path.index < path.leaves <= MOST_LEAVES:
        raise _impossible(f"an index below {path.leaves}, at most {MOST_LEAVES}", path.index)
    position, last = path.index, path.leaves - 1
    rest = iter(path.siblings)
    # One turn for each level: `position` is our node's number in it, `last` its last node's.
    while last:
        if position % 2 or position < last:
            sibling = next(rest, None)
            if sibling is None:
                raise _impossible("one sibling for each level", f"{len(path.siblings)} siblings")
            if len(sibling) != HASH_SIZE_BYTES:
                raise _impossible(f"siblings of {HASH_SIZE_BYTES} bytes", f"{len(sibling)} bytes")
            root = _node_hash(sibling, root) if position % 2 else _node_hash(root, sibling)
        position //= 2
        last //= 2
    if next(rest, None) is not None:
        raise _impossible("no sibling above the root", f"{len(path.siblings)} siblings")
    return root


def _node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def _impossible(expected: object, got: object) -> FreshnessError:
    return FreshnessError(
        "path of the nonce", code=Code.QUOTE_NONCE_PATH, step=8, expected=expected, got=got
    )
