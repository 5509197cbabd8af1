"""Pruning removes what today's lock does not name, and nothing that it does."""

from __future__ import annotations

from pathlib import Path

import pytest

from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.inputs.prune import Stale, stale_inputs, stale_trees
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import tree_key
from tests.unit.supply_chain.inputs.samples import lock_of, package

OLD, NEW = (package(text, "tool", version=text.decode()) for text in (b"1.0", b"2.0"))


@pytest.fixture
def trees(tmp_path: Path) -> Path:
    """A directory with the trees of two locks, and what a kill has left of pruning a third."""
    for name in (tree_key([OLD]).hex, tree_key([NEW]).hex, f".{Sha256(bytes(32)).hex}.stale"):
        folder = tmp_path / "trees" / name / "usr" / "bin"
        folder.mkdir(parents=True)
        (folder / "tool").write_bytes(bytes(1000))
        (tmp_path / "trees" / f"{name}.lock").touch()
    return tmp_path / "trees"


def remove(*stale: Stale) -> None:
    """Remove what was found."""
    for entry in stale:
        entry.remove()


def test_trees_of_another_lock_are_stale(trees: Path) -> None:
    found = tuple(stale_trees(trees, [[NEW]]))
    assert [entry.path.name for entry in found] == [
        f".{Sha256(bytes(32)).hex}.stale",
        tree_key([OLD]).hex,
    ]
    assert {entry.size for entry in found} == {1000}
    remove(*found)
    assert {path.name for path in trees.iterdir() if path.is_dir()} == {tree_key([NEW]).hex}
    assert (trees / tree_key([NEW]).hex / "usr" / "bin" / "tool").exists()
    assert tuple(stale_trees(trees, [[NEW]])) == ()


def test_an_unfinished_tree_of_today_is_left_to_its_run(trees: Path) -> None:
    unfinished = trees / f".{tree_key([NEW]).hex}.abcd1234"
    unfinished.mkdir()
    remove(*stale_trees(trees, [[NEW], [OLD]]))
    assert unfinished.is_dir()


def test_inputs_and_downloads_of_another_lock_are_stale(tmp_path: Path) -> None:
    store = Store(tmp_path / "store")
    for data, kept in ((b"1.0", OLD), (b"2.0", NEW)):
        store.put(data, kept.sha256)
        store.part(kept.sha256).parent.mkdir(exist_ok=True)
        store.part(kept.sha256).write_bytes(data[:1])
    found = tuple(stale_inputs(store, lock_of(NEW)))
    assert [(entry.kind, entry.path) for entry in found] == [
        ("input", store.path(OLD.sha256)),
        ("download", store.part(OLD.sha256)),
    ]
    remove(*found)
    assert (store.has(OLD.sha256), store.has(NEW.sha256)) == (False, True)
    assert store.part(NEW.sha256).exists()


def test_an_empty_cache_holds_nothing_stale(tmp_path: Path) -> None:
    assert tuple(stale_trees(tmp_path / "none", [])) == ()
    assert tuple(stale_inputs(Store(tmp_path / "none"), lock_of(NEW))) == ()


def test_a_person_reads_kind_name_and_size(tmp_path: Path) -> None:
    path = tmp_path / sha256_bytes(b"x").hex
    assert str(Stale(kind="input", path=path, size=3 << 20)) == "input 2d711642b726…, 3 MiB"
