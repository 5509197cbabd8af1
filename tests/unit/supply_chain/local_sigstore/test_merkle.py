"""The incremental tree against RFC 6962's definitions, written down as they stand there."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supply_chain.local_sigstore.merkle import (
    EMPTY_ROOT,
    MerkleTree,
    leaf_hash,
    verify_consistency,
)

leaves = st.lists(st.binary(max_size=8), min_size=1, max_size=70)


def tree_of(data: list[bytes]) -> MerkleTree:
    tree = MerkleTree()
    for item in data:
        tree.append(leaf_hash(item))
    return tree


def defined_root(data: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1."""
    if not data:
        return hashlib.sha256().digest()
    if len(data) == 1:
        return hashlib.sha256(b"\x00" + data[0]).digest()
    split = 1
    while split * 2 < len(data):
        split *= 2
    left, right = defined_root(data[:split]), defined_root(data[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def inclusion_holds(leaf: bytes, index: int, size: int, proof: list[bytes], root: bytes) -> bool:
    """RFC 9162, section 2.1.3.2."""
    if index >= size:
        return False
    fn, sn, r = index, size - 1, leaf
    for node in proof:
        if sn == 0:
            return False
        if fn % 2 == 1 or fn == sn:
            r = hashlib.sha256(b"\x01" + node + r).digest()
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = hashlib.sha256(b"\x01" + r + node).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == root


def consistency_holds(
    old: int, size: int, proof: list[bytes], old_root: bytes, root: bytes
) -> bool:
    """RFC 9162, section 2.1.4.2."""
    if old == size:
        return not proof and old_root == root
    path = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    if not path:
        return False
    fn, sn = old - 1, size - 1
    while fn % 2 == 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for node in path[1:]:
        if sn == 0:
            return False
        if fn % 2 == 1 or fn == sn:
            fr = hashlib.sha256(b"\x01" + node + fr).digest()
            sr = hashlib.sha256(b"\x01" + node + sr).digest()
            while fn % 2 == 0 and fn != 0:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = hashlib.sha256(b"\x01" + sr + node).digest()
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == root


def test_the_empty_tree_has_the_hash_of_nothing() -> None:
    assert MerkleTree().root() == EMPTY_ROOT == defined_root([])


@given(leaves)
def test_every_prefix_has_the_root_that_the_rfc_defines(data: list[bytes]) -> None:
    tree = tree_of(data)
    assert [tree.root(size) for size in range(len(data) + 1)] == [
        defined_root(data[:size]) for size in range(len(data) + 1)
    ]


@given(leaves, st.data())
def test_an_inclusion_proof_holds_for_its_leaf_and_for_no_other_index(
    data: list[bytes], draw: st.DataObject
) -> None:
    tree = tree_of(data)
    size = draw.draw(st.integers(1, len(data)))
    index = draw.draw(st.integers(0, size - 1))
    proof = tree.inclusion_proof(index, size)
    root = tree.root(size)
    assert inclusion_holds(leaf_hash(data[index]), index, size, proof, root)
    assert not inclusion_holds(leaf_hash(data[index] + b"!"), index, size, proof, root)
    assert not inclusion_holds(leaf_hash(data[index]), index, size, [*proof, root], root)


@given(leaves, st.data())
def test_a_consistency_proof_holds_for_the_two_roots(
    data: list[bytes], draw: st.DataObject
) -> None:
    tree = tree_of(data)
    size = draw.draw(st.integers(1, len(data)))
    old = draw.draw(st.integers(1, size))
    proof = tree.consistency_proof(old, size)
    assert consistency_holds(old, size, proof, tree.root(old), tree.root(size))
    verify_consistency((old, tree.root(old)), (size, tree.root(size)), proof)
    if old != size:
        forged = leaf_hash(b"another history")
        assert not consistency_holds(old, size, proof, forged, tree.root(size))
        assert not consistency_holds(old, size, proof, tree.root(old), forged)


@given(leaves, st.data())
def test_a_consistency_proof_is_judged_as_the_rfc_judges_it(
    data: list[bytes], draw: st.DataObject
) -> None:
    tree = tree_of(data)
    size = draw.draw(st.integers(1, len(data)))
    old = draw.draw(st.integers(1, size))
    nodes = st.sampled_from([*tree.consistency_proof(old, size), tree.root(size), bytes(32)])
    proof = draw.draw(st.lists(nodes, max_size=8))
    roots = st.sampled_from([tree.root(old), tree.root(size), bytes(32)])
    before, now = draw.draw(roots), draw.draw(roots)
    if consistency_holds(old, size, proof, before, now):
        verify_consistency((old, before), (size, now), proof)
    else:
        with pytest.raises(ValueError, match="consistency proof"):
            verify_consistency((old, before), (size, now), proof)


@pytest.mark.parametrize("sizes", [(0, 1), (2, 1), (-1, 1)])
def test_a_tree_that_shrank_is_not_consistent(sizes: tuple[int, int]) -> None:
    root = leaf_hash(b"a")
    with pytest.raises(ValueError, match="tree sizes"):
        verify_consistency((sizes[0], root), (sizes[1], root), [])


@given(st.integers(1, 2000))
def test_a_proof_is_no_longer_than_the_tree_is_high(size: int) -> None:
    tree = tree_of([b""] * size)
    assert len(tree.inclusion_proof(size - 1)) <= size.bit_length()


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_outside_the_tree_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="leaf index: expected"):
        tree_of([b"a", b"b", b"c"]).inclusion_proof(index, size)


@pytest.mark.parametrize("old", [0, 4])
def test_a_tree_that_was_never_there_has_no_consistency_proof(old: int) -> None:
    with pytest.raises(ValueError, match="old tree size: expected"):
        tree_of([b"a", b"b", b"c"]).consistency_proof(old)


def test_a_size_beyond_the_tree_has_no_root() -> None:
    with pytest.raises(ValueError, match="tree size: expected 0 to 1, got 2"):
        tree_of([b"a"]).root(2)
