from __future__ import annotations

from pathlib import Path

import pytest

from supply_chain.digest import sha256_bytes
from supply_chain.errors import DigestMismatchError
from supply_chain.inputs.store import Store

DATA = b"the bytes that are wanted"
DIGEST = sha256_bytes(DATA)


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_bytes_are_kept_under_their_digest(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.has(DIGEST)
    path = store.put(DATA, DIGEST)
    assert path == store.path(DIGEST) == tmp_path / "sha256" / DIGEST.hex[:2] / DIGEST.hex
    assert store.has(DIGEST)
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o777 == 0o444


def test_a_file_is_copied_and_left_where_it_is(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(DATA)
    store = Store(tmp_path / "store")
    assert store.put(source, DIGEST).read_bytes() == DATA
    assert source.read_bytes() == DATA


def test_putting_twice_is_putting_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.put(DATA, DIGEST) == store.put(DATA, DIGEST)
    assert len(files(tmp_path)) == 1


def test_other_bytes_are_refused_and_nothing_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(DigestMismatchError) as caught:
        store.put(b"other", DIGEST, name="model")
    assert caught.value.code == "build.digest_mismatch"
    assert (caught.value.name, caught.value.expected) == ("model", DIGEST)
    assert caught.value.got == sha256_bytes(b"other")
    assert files(tmp_path) == []


def test_a_download_is_adopted(tmp_path: Path) -> None:
    store = Store(tmp_path)
    part = store.part(DIGEST)
    part.parent.mkdir()
    part.write_bytes(DATA)
    assert store.adopt(part, DIGEST, name="model").read_bytes() == DATA
    assert not part.exists()


def test_a_wrong_download_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path)
    part = store.part(DIGEST)
    part.parent.mkdir()
    part.write_bytes(b"other")
    with pytest.raises(DigestMismatchError) as caught:
        store.adopt(part, DIGEST, name="model")
    assert caught.value.code == "build.digest_mismatch"
    assert files(tmp_path) == []
