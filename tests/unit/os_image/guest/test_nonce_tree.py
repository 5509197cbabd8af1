from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama._tpm.nonce_tree import NoncePath as SdkNoncePath
from blindllama._tpm.nonce_tree import nonce_tree_root
from os_image.guest.nonce_tree import build_nonce_tree, leaf_digest, node_digest

nonces = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=70)


def test_a_caller_alone_has_the_empty_path() -> None:
    nonce = bytes(range(32))
    tree = build_nonce_tree([nonce])
    assert tree.root == hashlib.sha256(b"\0" + nonce).digest()
    assert (tree.paths[0].index, tree.paths[0].leaves, tree.paths[0].siblings) == (0, 1, ())


def test_an_odd_leaf_is_promoted_and_not_doubled() -> None:
    one, two, three = (bytes([n]) * 32 for n in (1, 2, 3))
    pair = node_digest(leaf_digest(one), leaf_digest(two))
    tree = build_nonce_tree([one, two, three])
    assert tree.root == node_digest(pair, leaf_digest(three))
    assert tree.paths[2].siblings == (pair,)
    assert build_nonce_tree([one, two, three, three]).root != tree.root


@given(nonces)
def test_the_client_arrives_at_the_root_from_every_path(found: list[bytes]) -> None:
    tree = build_nonce_tree(found)
    for nonce, path in zip(found, tree.paths, strict=True):
        claimed = SdkNoncePath(index=path.index, leaves=path.leaves, siblings=path.siblings)
        assert nonce_tree_root(nonce, claimed) == tree.root


@given(nonces)
def test_a_tree_shown_as_a_nonce_has_another_root(found: list[bytes]) -> None:
    root = build_nonce_tree(found).root
    assert build_nonce_tree([root]).root != root


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_nonce_of_another_size_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match="expected 32 bytes"):
        build_nonce_tree([bytes(size)])


@pytest.mark.parametrize("count", [0, (1 << 16) + 1])
def test_no_nonce_and_too_many_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="expected 1 to 65536"):
        build_nonce_tree([bytes(32)] * count)
