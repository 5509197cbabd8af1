"""`invoke inputs.add`: a file that no archive has gets into the lock and the store, or neither."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest
from invoke import Collection, Program

from supply_chain import _input_tasks
from supply_chain.inputs.lock import LOCK_NAME, read_lock
from supply_chain.workspace import CACHE_VARIABLE


@pytest.fixture
def own_checkout(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copy(checkout / LOCK_NAME, tmp_path / LOCK_NAME)
    monkeypatch.setattr(_input_tasks, "ROOT", tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    (tmp_path / "k3s").write_bytes(b"a program")
    return tmp_path


def add(*arguments: str) -> None:
    namespace = Collection()
    namespace.add_collection(_input_tasks.input_tasks)
    Program(namespace=namespace).run(["invoke", "inputs.add", *arguments], exit=False)


def test_a_file_is_in_the_lock_and_in_the_store(
    own_checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = read_lock(own_checkout / LOCK_NAME)
    add(str(own_checkout / "k3s"), "--name", "k3s", "--version", "v1")
    digest = hashlib.sha256(b"a program").hexdigest()
    assert capsys.readouterr().out.startswith(f"{digest}  ")
    lock = read_lock(own_checkout / LOCK_NAME)
    (added,) = [item for item in lock.files if item not in before.files]
    assert (added.name, added.version, added.size) == ("k3s", "v1", 9)
    assert added.sha256.hex == digest
    assert (lock.debs, lock.wheels) == (before.debs, before.wheels)
    stored = [path for path in (own_checkout / "cache").rglob("*") if path.is_file()]
    assert b"a program" in {path.read_bytes() for path in stored}


def test_a_name_that_is_none_leaves_the_lock(
    own_checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (own_checkout / LOCK_NAME).read_bytes()
    add(str(own_checkout / "k3s"), "--name", "../k3s", "--version", "v1")
    assert "name" in capsys.readouterr().err
    assert (own_checkout / LOCK_NAME).read_bytes() == before
