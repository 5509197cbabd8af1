"""Weights are read once: what was hashed is what is used, whatever happens to the folder."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from engine.staging import stage_weights
from engine.weights import WeightsError
from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.errors import DigestMismatchError

DATA = {"config.json": b"{}", "model.safetensors": bytes(range(256)) * 9001}
DIGESTS = {name: sha256_bytes(data) for name, data in DATA.items()}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "mine").mkdir()
    for name, data in DATA.items():
        (tmp_path / "mine" / name).write_bytes(data)
    (tmp_path / "mine" / "pytorch_model.bin").write_bytes(b"a program")
    return tmp_path / "mine"


def _stage(folder: Path, files: dict[str, Sha256]) -> Path:
    out = folder.parent / "out" / "model"
    stage_weights(folder, files, signer=None, base=folder.parent, out=out)
    return out


def test_each_file_is_opened_once_and_no_other_is(folder: Path, opened: Counter[str]) -> None:
    out = _stage(folder, DIGESTS)

    assert {name: opened[str(folder / name)] for name in DATA} == dict.fromkeys(DATA, 1)
    assert opened[str(folder / "pytorch_model.bin")] == 0
    assert {path.name: path.read_bytes() for path in out.iterdir()} == DATA
    assert [path.name for path in out.parent.iterdir()] == ["model"]
    assert {path.stat().st_mode & 0o777 for path in out.iterdir()} == {0o644}


def test_the_copy_stays_as_it_was_checked(folder: Path) -> None:
    out = _stage(folder, DIGESTS)

    (folder / "model.safetensors").write_bytes(b"other")

    assert (out / "model.safetensors").read_bytes() == DATA["model.safetensors"]


def test_another_file_is_refused_and_nothing_is_left(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(DATA["model.safetensors"][:-1])

    with pytest.raises(DigestMismatchError, match="mine/model.safetensors") as caught:
        _stage(folder, DIGESTS)

    assert caught.value.code == "build.digest_mismatch"
    assert list((folder.parent / "out").iterdir()) == []


def test_a_missing_file_is_named(folder: Path) -> None:
    with pytest.raises(WeightsError, match="expected tokenizer.json in .*mine, got no") as caught:
        _stage(folder, DIGESTS | {"tokenizer.json": DIGESTS["config.json"]})

    assert caught.value.code == "engine.weights"
