from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama._tpm.nonce_tree import MOST_LEAVES, NoncePath, leaf_hash, nonce_tree_root
from blindllama._tpm.quote import qualifying_data
from blindllama.errors import Code, FreshnessError, UsageError
from tests.conformance.golden import golden_files
from tests.simulators.booted_guest import tree

NONCE = bytes(range(32))


def path_of(nonces: list[bytes], index: int) -> tuple[bytes, NoncePath]:
    root, siblings = tree(nonces, index)
    return root, NoncePath(index=index, leaves=len(nonces), siblings=tuple(siblings))


def refused(nonce: bytes, path: NoncePath) -> None:
    with pytest.raises(FreshnessError) as caught:
        nonce_tree_root(nonce, path)
    assert caught.value.code is Code.QUOTE_NONCE_PATH


@given(st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=40), st.data())
def test_every_leaf_leads_to_the_root(nonces: list[bytes], data: st.DataObject) -> None:
    index = data.draw(st.integers(0, len(nonces) - 1))
    root, path = path_of(nonces, index)
    assert nonce_tree_root(nonces[index], path) == root


def test_a_caller_alone_is_the_root() -> None:
    assert nonce_tree_root(NONCE, NoncePath(index=0, leaves=1, siblings=())) == leaf_hash(NONCE)


def test_an_odd_leaf_is_promoted_and_not_doubled() -> None:
    nonces = [bytes([number]) * 32 for number in range(3)]
    doubled = [*nonces, nonces[2]]
    assert path_of(nonces, 2)[0] != path_of(doubled, 2)[0]
    _, path = path_of(nonces, 2)
    refused(nonces[2], replace(path, siblings=(leaf_hash(nonces[2]), *path.siblings)))


def test_a_node_is_no_leaf() -> None:
    # Q6: if leaves had no prefix, the 64 bytes of two leaves would be a nonce with this root.
    nonces = [bytes([number]) * 32 for number in range(2)]
    children = b"".join(leaf_hash(nonce) for nonce in nonces)
    with pytest.raises(UsageError):
        nonce_tree_root(children, NoncePath(index=0, leaves=1, siblings=()))
    root, _ = path_of(nonces, 0)
    assert root != hashlib.sha256(b"\0" + children).digest()


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_a_nonce_has_32_bytes(size: int) -> None:
    with pytest.raises(UsageError):
        leaf_hash(bytes(size))


@pytest.mark.parametrize(
    ("index", "leaves", "siblings"),
    [
        pytest.param(1, 1, 0, id="index beyond"),
        pytest.param(-1, 1, 0, id="index below"),
        pytest.param(0, 0, 0, id="no leaves"),
        pytest.param(0, MOST_LEAVES + 1, 17, id="too many leaves"),
        pytest.param(0, 1, 1, id="longer than the tree"),
        pytest.param(0, 4, 1, id="shorter than the tree"),
        pytest.param(4, 5, 3, id="promoted leaf with a neighbour"),
    ],
)
def test_impossible_paths(index: int, leaves: int, siblings: int) -> None:
    refused(NONCE, NoncePath(index=index, leaves=leaves, siblings=(bytes(32),) * siblings))


@pytest.mark.parametrize("size", [0, 31, 33])
def test_siblings_have_32_bytes(size: int) -> None:
    refused(NONCE, NoncePath(index=0, leaves=2, siblings=(bytes(size),)))


@pytest.mark.parametrize(("index", "other"), [(0, 1), (1, 0), (2, 3)])
def test_another_index_gives_another_root(index: int, other: int) -> None:
    nonces = [bytes([number]) * 32 for number in range(4)]
    root, path = path_of(nonces, index)
    assert nonce_tree_root(nonces[index], replace(path, index=other)) != root


def golden(checkout: Path, name: str) -> list[dict[str, Any]]:
    cases: list[dict[str, Any]] = json.loads((checkout / "tests/golden" / name).read_bytes())
    return cases


def test_golden_trees(checkout: Path) -> None:
    for case in golden(checkout, "nonce-tree.json"):
        for index, path in enumerate(case["paths"]):
            siblings = tuple(base64.b64decode(sibling) for sibling in path)
            claimed = NoncePath(index=index, leaves=len(case["nonces"]), siblings=siblings)
            root = nonce_tree_root(base64.b64decode(case["nonces"][index]), claimed)
            assert root == base64.b64decode(case["root"])


def test_golden_bindings(checkout: Path) -> None:
    # The file holds roots; a caller alone reaches one through its leaf only, so that is checked.
    alone = NoncePath(index=0, leaves=1, siblings=())
    for case in golden(checkout, "qualifying-data.json"):
        spki, root = base64.b64decode(case["spki"]), base64.b64decode(case["root"])
        made = hashlib.sha256(b"blindllama/quote/v1\0" + hashlib.sha256(spki).digest() + root)
        assert made.digest() == base64.b64decode(case["qualifying_data"])
        whole = b"blindllama/quote/v1\0" + hashlib.sha256(spki).digest() + leaf_hash(root)
        assert qualifying_data(spki=spki, nonce=root, path=alone) == hashlib.sha256(whole).digest()


def test_golden_files_are_what_the_definitions_make(checkout: Path) -> None:
    for name, data in golden_files().items():
        assert (checkout / "tests/golden" / name).read_bytes() == data
