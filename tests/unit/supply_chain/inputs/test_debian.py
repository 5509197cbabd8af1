from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supply_chain import inputs
from supply_chain.digest import sha256_bytes
from supply_chain.errors import DigestMismatchError, FetchError
from supply_chain.inputs.debian import Archives, fetch_debian
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.progress import SilentProgress
from tests.simulators.file_server import FileServer, file_server
from tests.unit.supply_chain.inputs.samples import lock_of, package

DATA = os.urandom(5000)
QUOTED = "pool/main/s/sample_1.0%2Bb1_amd64.deb"


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        running.files[f"debian/{QUOTED}"] = DATA
        yield running


def fetch(lock: Lock, store: Store, server: FileServer, *, snapshot: bool = False) -> None:
    archives = Archives(
        bases={"debian": f"{server.url}/debian", "debian-security": f"{server.url}/security"},
        snapshot=f"{server.url}/snapshots" if snapshot else None,
    )
    fetch_debian(lock.debian("set"), store, lock=lock, archives=archives, progress=SilentProgress())


def test_a_package_comes_from_the_archive_once(server: FileServer, tmp_path: Path) -> None:
    lock, store = lock_of(package(DATA)), Store(tmp_path)
    fetch(lock, store, server)
    fetch(lock, store, server)
    assert store.path(sha256_bytes(DATA)).read_bytes() == DATA
    assert server.requests == [(f"debian/{QUOTED}", None)]


def test_many_packages_at_a_time(server: FileServer, tmp_path: Path) -> None:
    blobs = {f"p{number}": os.urandom(1000 + number) for number in range(20)}
    lock = lock_of(*(package(data, name) for name, data in blobs.items()))
    for deb in lock.debs:
        server.files[f"debian/{deb.pool_path.replace('+', '%2B')}"] = blobs[deb.name]
    fetch(lock, Store(tmp_path), server)
    assert all(Store(tmp_path).has(sha256_bytes(data)) for data in blobs.values())


def test_other_bytes_of_the_same_size_are_refused(server: FileServer, tmp_path: Path) -> None:
    evil = bytes([DATA[0] ^ 1]) + DATA[1:]
    server.files[f"debian/{QUOTED}"] = evil
    with pytest.raises(DigestMismatchError) as caught:
        fetch(lock_of(package(DATA)), Store(tmp_path), server)
    assert caught.value.code == "build.digest_mismatch"
    assert caught.value.name == "sample_1.0_amd64.deb"
    assert (caught.value.expected, caught.value.got) == (sha256_bytes(DATA), sha256_bytes(evil))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_partial_download_is_resumed_and_checked_as_a_whole(
    server: FileServer, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    part = store.part(sha256_bytes(DATA))
    part.parent.mkdir()
    part.write_bytes(b"x" * 10)
    with pytest.raises(DigestMismatchError) as caught:
        fetch(lock_of(package(DATA)), store, server)
    assert caught.value.code == "build.digest_mismatch"
    assert server.requests == [(f"debian/{QUOTED}", "bytes=10-")]
    # The spoilt part is gone, so that the next attempt succeeds.
    fetch(lock_of(package(DATA)), store, server)
    assert store.has(sha256_bytes(DATA))


def test_what_the_archive_dropped_is_in_the_snapshots(server: FileServer, tmp_path: Path) -> None:
    server.files = {f"snapshots/debian/20260102T110405Z/{QUOTED}": DATA}
    fetch(lock_of(package(DATA)), Store(tmp_path), server, snapshot=True)
    assert [path for path, _ in server.requests] == [
        f"debian/{QUOTED}",
        f"snapshots/debian/20260102T110405Z/{QUOTED}",
    ]


@pytest.mark.parametrize("snapshot", [False, True])
def test_what_nobody_has_leads_to_a_new_lock(
    snapshot: bool, server: FileServer, tmp_path: Path
) -> None:
    server.files = {}
    with pytest.raises(FetchError, match="invoke lock.update") as caught:
        fetch(lock_of(package(DATA)), Store(tmp_path), server, snapshot=snapshot)
    assert caught.value.code == "build.fetch"
    assert "sample_1.0_amd64.deb" in str(caught.value)
    assert ("BLINDLLAMA_SNAPSHOT_MIRROR" in str(caught.value)) is not snapshot


def test_the_setting_names_the_mirror() -> None:
    archives = Archives.of_machine(
        {
            "BLINDLLAMA_DEBIAN_MIRROR": "http://mirror.example/debian/",
            "BLINDLLAMA_SNAPSHOT_MIRROR": "http://snapshot.example/archive/",
        }
    )
    assert archives.bases == {
        "debian": "http://mirror.example/debian",
        "debian-security": "http://mirror.example/debian-security",
    }
    assert archives.snapshot == "http://snapshot.example/archive"
    assert archives.urls(package(DATA), None) == [f"http://mirror.example/debian/{QUOTED}"]


def test_the_security_archive_may_be_elsewhere() -> None:
    archives = Archives.of_machine(
        {
            "BLINDLLAMA_DEBIAN_MIRROR": "http://mirror.example/debian",
            "BLINDLLAMA_DEBIAN_SECURITY_MIRROR": "http://other.example/security",
        }
    )
    assert archives.bases["debian-security"] == "http://other.example/security"


ONE_LINE = "deb [arch=amd64] http://mirror.example/debian trixie main\n"
DEB822 = """Types: deb
URIs: https://mirror.example/debian-security/
Suites: trixie-security
Components: main
"""
THIRD_PARTY = "deb http://tools.example/apt stable main\n"


def apt_configuration(folder: Path, **sources: str) -> dict[str, str]:
    parts = folder / "sources.list.d"
    parts.mkdir()
    for name, text in sources.items():
        (parts / name.replace("_", ".")).write_text(text)
    config = folder / "apt.conf"
    config.write_text(
        f'Dir::Etc::SourceParts "{parts}"; Dir::Etc::SourceList "/dev/null";'
        'Acquire::http::Proxy "http://proxy.example:3128";'
    )
    return {"APT_CONFIG": str(config)}


def test_apts_configuration_is_read_in_both_of_its_formats(tmp_path: Path) -> None:
    archives = Archives.of_machine(
        apt_configuration(tmp_path, a_list=THIRD_PARTY, b_list=ONE_LINE, c_sources=DEB822)
    )
    assert archives.bases == {
        "debian": "http://mirror.example/debian",
        "debian-security": "https://mirror.example/debian-security",
    }
    assert archives.proxies["http"] == "http://proxy.example:3128"


def test_without_a_debian_archive_the_error_names_the_setting(tmp_path: Path) -> None:
    with pytest.raises(FetchError, match="BLINDLLAMA_DEBIAN_MIRROR") as caught:
        Archives.of_machine(apt_configuration(tmp_path, a_list=THIRD_PARTY))
    assert caught.value.code == "build.fetch"


def test_a_full_store_needs_neither_archives_nor_network(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.put(DATA, sha256_bytes(DATA))
    nowhere = {"BLINDLLAMA_DEBIAN_MIRROR": "http://127.0.0.1:9"}
    inputs.fetch(lock_of(package(DATA)), (), store, SilentProgress(), environ=nowhere)


def test_two_runs_that_share_a_store_fetch_once(server: FileServer, tmp_path: Path) -> None:
    mirror = {"BLINDLLAMA_DEBIAN_MIRROR": f"{server.url}/debian"}
    lock, store = lock_of(package(DATA)), Store(tmp_path / "store")

    def run(_: int) -> None:
        inputs.fetch(lock, (), store, SilentProgress(), environ=mirror)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, range(4)))
    assert store.path(sha256_bytes(DATA)).read_bytes() == DATA
    assert server.requests == [(f"debian/{QUOTED}", None)]


def test_offline_a_missing_input_is_named_with_what_to_do(
    server: FileServer, tmp_path: Path
) -> None:
    """Nobody is asked, although a mirror is set and serves it."""
    debs = [package(name.encode(), name) for name in ("one", "two", "three")]
    store = Store(tmp_path / "store")
    store.put(b"one", debs[0].sha256)
    environ = {"BLINDLLAMA_DEBIAN_MIRROR": f"{server.url}/debian"}
    with pytest.raises(FetchError) as caught:
        inputs.fetch(lock_of(*debs), (), store, SilentProgress(), environ=environ, offline=True)
    assert caught.value.code == "build.fetch"
    assert str(caught.value) == (
        "three_1.0_amd64.deb and 1 other input of the lock: expected in the store, since --offline "
        "asks nobody, got none; run `./do invoke inputs.fetch` once with a network"
    )
    assert server.requests == []
    store.put(b"two", debs[1].sha256)
    store.put(b"three", debs[2].sha256)
    inputs.fetch(lock_of(*debs), (), store, SilentProgress(), environ=environ, offline=True)
