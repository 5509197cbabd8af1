from __future__ import annotations

import re
from pathlib import Path

import pytest

from supply_chain.digest import sha256_bytes
from supply_chain.errors import FetchError, LockError
from supply_chain.inputs import fetch
from supply_chain.inputs.lock import (
    LOCK_NAME,
    WISHES_NAME,
    Lock,
    PlainFile,
    Wheel,
    lock_text,
    read_lock,
    read_wishes,
)
from supply_chain.inputs.store import Store
from supply_chain.progress import SilentProgress
from tests.unit.supply_chain.inputs.samples import DATE, lock_of, package

WHEEL = Wheel(
    name="a-model",
    version="1.2",
    filename="a_model-1.2-py3-none-any.whl",
    size=7,
    sha256=sha256_bytes(b"a wheel"),
)
LOCK = lock_of(
    package(b"1", "libc6", version="1:2.0", sets=("one", "two")),
    package(b"2", "zebra", sets=("one",)),
    package(b"3", "apple", sets=("one",)),
    wheels=(WHEEL,),
)


def write(folder: Path, text: str) -> Path:
    path = folder / LOCK_NAME
    path.write_text(text, "utf-8")
    return path


def test_what_is_written_is_what_is_read(tmp_path: Path) -> None:
    assert read_lock(write(tmp_path, lock_text(LOCK))) == LOCK


def test_one_line_per_input() -> None:
    lines = lock_text(LOCK).splitlines()
    assert sum("libc6" in line for line in lines) == 1
    assert sum(line.startswith("  { ") for line in lines) == 3 + 1 + 1


def test_a_set_is_sorted_by_name() -> None:
    assert [deb.name for deb in LOCK.debian("one")] == ["apple", "libc6", "zebra"]
    assert [deb.name for deb in LOCK.debian("two")] == ["libc6"]
    assert LOCK.sets == ("one", "two")


@pytest.mark.parametrize("ask", [Lock.debian, Lock.wheel, Lock.input_digests])
def test_a_name_that_the_lock_does_not_hold(ask: object) -> None:
    assert callable(ask)
    with pytest.raises(LockError, match="'nothing' in the lock") as caught:
        ask(LOCK, "nothing")
    assert caught.value.code == "build.lock"


def test_digests_bear_the_names_of_provenance() -> None:
    assert LOCK.input_digests("two", "a-model") == {
        "libc6_1:2.0_amd64.deb": sha256_bytes(b"1"),
        "a_model-1.2-py3-none-any.whl": sha256_bytes(b"a wheel"),
    }
    assert len(LOCK.inputs()) == 4
    assert len(LOCK.inputs("one", "two")) == 3


def test_the_date_of_a_package_is_that_of_its_suite() -> None:
    assert LOCK.date_of(LOCK.debs[0]) == DATE
    assert lock_of().date_of(LOCK.debs[0].model_copy(update={"suite": "sid"})) is None


GOOD = lock_text(LOCK)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("version = 1\n", "version = 2\n"),
        ("version = 1\n", 'version = "1"\n'),
        ("version = 1\n", ""),
        ("version = 1\n", "version = 1\nextra = 1\n"),
        ("size = 1,", "size = 0,"),
        ("size = 1,", 'size = "1",'),
        ("size = 1,", "size = 1, url = 'x',"),
        ('archive = "debian",', 'archive = "other",'),
        ("pool/main/s/zebra", "/pool/main/s/zebra"),
        ("pool/main/s/zebra", "pool/../../zebra"),
        ("pool/main/s/zebra", "dists/main/s/zebra"),
        ("zebra_1.0+b1_amd64.deb", "zebra"),
        (sha256_bytes(b"1").hex, sha256_bytes(b"1").hex.upper()),
        (sha256_bytes(b"1").hex, sha256_bytes(b"1").hex[:-1]),
        ("a_model-1.2-py3-none-any.whl", "../a_model.whl"),
        (DATE, "2026-01-02"),
        ('name = "zebra"', 'name = "libc6"'),
        ("[", "]"),
    ],
)
def test_a_malformed_lock_is_refused(old: str, new: str, tmp_path: Path) -> None:
    assert old in GOOD
    with pytest.raises(LockError, match="malformed|not TOML") as caught:
        read_lock(write(tmp_path, GOOD.replace(old, new)))
    assert caught.value.code == "build.lock"


def test_a_missing_lock_is_named(tmp_path: Path) -> None:
    with pytest.raises(LockError, match=LOCK_NAME):
        read_lock(tmp_path / LOCK_NAME)


def test_this_checkouts_lock_fulfils_its_wishes(lock: Lock, checkout: Path) -> None:
    wishes = read_wishes(checkout / WISHES_NAME)
    assert set(lock.sets) == set(wishes.sets)
    assert {wheel.name: wheel.version for wheel in lock.wheels} == {
        name: wish.version for name, wish in wishes.wheels.items()
    }
    for name, wish in wishes.sets.items():
        names = {deb.name for deb in lock.debian(name)}
        wanted = re.compile(wish.keep or ".*")
        assert {asked for asked in wish.packages if wanted.fullmatch(asked)} <= names
    suites = {suite for wish in wishes.sets.values() for suite in wish.suites}
    assert {deb.suite for deb in lock.debs} <= suites
    assert {entry.suite for entry in lock.archives} == suites


def test_this_checkouts_lock_is_as_update_writes_it(lock: Lock, checkout: Path) -> None:
    assert (checkout / LOCK_NAME).read_text("utf-8") == lock_text(lock)


def test_this_checkouts_lock_holds_no_address(checkout: Path) -> None:
    for name in (LOCK_NAME, WISHES_NAME):
        assert "://" not in (checkout / name).read_text("utf-8")


FILE = PlainFile(
    name="k3s",
    version="v1.33.0",
    filename="k3s",
    size=6,
    sha256=sha256_bytes(b"a file"),
)


def test_a_file_of_no_archive_is_kept_in_the_lock(tmp_path: Path) -> None:
    lock = LOCK.with_file(FILE)

    assert read_lock(write(tmp_path, lock_text(lock))) == lock
    assert lock.inputs("k3s") == (FILE,)
    assert FILE in lock.inputs()
    assert lock.input_digests("k3s") == {"v1.33.0/k3s": FILE.sha256}
    assert lock.with_file(FILE.model_copy(update={"version": "v2"})).file("k3s").version == "v2"
    # A lock without one is written as it always was.
    assert "files" not in lock_text(LOCK)


def test_a_file_that_is_not_in_the_lock_is_named_with_the_remedy() -> None:
    with pytest.raises(LockError, match=r"inputs\.add FILE --name k3s") as caught:
        LOCK.file("k3s")

    assert caught.value.code == "build.lock"


def test_a_file_that_is_not_in_the_store_cannot_be_fetched(tmp_path: Path) -> None:
    lock, store = LOCK.with_file(FILE), Store(tmp_path / "store")
    with pytest.raises(FetchError, match=r"inputs\.add FILE --name k3s --version v1\.33\.0"):
        fetch(lock, ["k3s"], store, SilentProgress(), environ={})

    store.put(b"a file", FILE.sha256)
    fetch(lock, ["k3s"], store, SilentProgress(), environ={})
