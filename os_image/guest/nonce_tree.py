"""Many callers' nonces under one root, so that one quote answers all of them.

    leaf  = SHA-256(0x00 ‖ nonce)
    node  = SHA-256(0x01 ‖ left ‖ right)

An odd node at the end of a row is promoted unchanged, never doubled: a doubled one would give two
different lists the same root. The prefixes keep a node from being shown as a leaf. A caller alone
has the empty path, and the root is its leaf.

Source: RFC 9162, section 2.1 (the same tree shape and the same domain separation).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

NONCE_SIZE = 32
"""Bytes of a nonce."""

MAXIMUM_LEAVES = 1 << 16
"""Callers that one quote may answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NoncePath:
    """One caller's way from its nonce to the quoted root."""

    index: int
    """Position of the nonce among the leaves, from 0."""
    leaves: int
    """Number of nonces under the root."""
    siblings: tuple[bytes, ...]
    """Digests of 32 bytes to combine with, from the leaf's row upwards."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonceTree:
    """The root of a batch and the path of each of its nonces, in the order of the nonces."""

    root: bytes
    paths: tuple[NoncePath, ...]


def leaf_digest(nonce: bytes) -> bytes:
    """The 32-byte digest of one nonce as a leaf.

    Raises:
        ValueError: The nonce does not have 32 bytes.
    """
    if len(nonce) != NONCE_SIZE:
        raise ValueError(f"nonce: expected {NONCE_SIZE} bytes, got {len(nonce)}")
    return hashlib.sha256(b"\x00" + nonce).digest()


def node_digest(left: bytes, right: bytes) -> bytes:
    """The 32-byte digest of two neighbours."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def build_nonce_tree(nonces: Sequence[bytes]) -> NonceTree:
    """The tree over `nonces`, each of 32 bytes.

    Raises:
        ValueError: There is no nonce, there are more than 65536, or one has a wrong size.
    """
    if not 1 <= len(nonces) <= MAXIMUM_LEAVES:
        raise ValueError(f"nonces: expected 1 to {MAXIMUM_LEAVES}, got {len(nonces)}")
    rows = [[leaf_digest(nonce) for nonce in nonces]]
    while len(rows[-1]) > 1:
        rows.append(_row_above(rows[-1]))
    paths = (
        NoncePath(index=index, leaves=len(nonces), siblings=_siblings(rows, index))
        for index in range(len(nonces))
    )
    return NonceTree(root=rows[-1][0], paths=tuple(paths))


def _row_above(row: Sequence[bytes]) -> list[bytes]:
    pairs = [node_digest(row[at], row[at + 1]) for at in range(0, len(row) - 1, 2)]
    return pairs if len(row) % 2 == 0 else [*pairs, row[-1]]


def _siblings(rows: Sequence[Sequence[bytes]], index: int) -> tuple[bytes, ...]:
    found = []
    for row in rows[:-1]:
        neighbour = index ^ 1
        if neighbour < len(row):
            found.append(row[neighbour])
        index >>= 1
    return tuple(found)
