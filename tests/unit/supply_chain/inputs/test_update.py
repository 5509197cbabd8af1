from __future__ import annotations

from pathlib import Path

import pytest

from supply_chain.digest import sha256_bytes
from supply_chain.errors import FetchError, LockError
from supply_chain.inputs.apt import Apt
from supply_chain.inputs.debian import Archives
from supply_chain.inputs.lock import DebianPackage, Wish
from supply_chain.inputs.update import told_changes
from tests.simulators.file_server import file_server
from tests.unit.supply_chain.inputs.samples import lock_of, package

RELEASE = """Origin: Debian
Suite: {suite}
Codename: {suite}
Date: Fri, 02 Jan 2026 03:04:05 UTC
Architectures: amd64
Components: main
"""
PACKAGES = {
    "trixie": {
        "app": ("1.0-1", "library (>= 1), shell | other-shell", ""),
        "library": ("1:1.0", "", ""),
        "shell": ("5.2+b1", "", "yes"),
        "extra": ("1", "", ""),
        "broken": ("1", "nothing-has-this", ""),
    },
    "trixie-security": {"library": ("1:1.1", "", "")},
    "sid": {"library": ("2:9", "", ""), "shell": ("5.2+b1", "", "yes")},
}


def stanza(name: str, version: str, depends: str, essential: str) -> str:
    file = f"{name}_{version.rpartition(':')[2]}_amd64.deb"
    fields = {
        "Package": name,
        "Version": version,
        "Architecture": "amd64",
        "Maintainer": "Nobody <nobody@example.org>",
        "Essential": essential,
        "Depends": depends,
        "Recommends": "extra",
        "Filename": f"pool/main/{name[0]}/{name}/{file}",
        "Size": "1000",
        "SHA256": sha256_bytes(file.encode()).hex,
        "Description": "a sample",
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items() if value)


@pytest.fixture
def apt(tmp_path: Path) -> Apt:
    """Apt as an update leaves it: the update itself needs Debian's signature."""
    archives = Archives(
        bases={"debian": "http://a.example/debian", "debian-security": "http://a.example/secure"}
    )
    lists = tmp_path / "lists"
    for part in ("lists/partial", "cache/archives/partial", "empty"):
        (tmp_path / part).mkdir(parents=True)
    (tmp_path / "status").touch()
    for suite, packages in PACKAGES.items():
        archive = "secure" if suite.endswith("-security") else "debian"
        stem = f"a.example_{archive}_dists_{suite}"
        text = "\n".join(stanza(name, *rest) for name, rest in packages.items())
        (lists / f"{stem}_InRelease").write_text(RELEASE.format(suite=suite))
        (lists / f"{stem}_main_binary-amd64_Packages").write_text(text)
    return Apt(folder=tmp_path, archives=archives, architecture="amd64", suites=tuple(PACKAGES))


def closure(apt: Apt, *names: str, **options: object) -> set[str]:
    suites = ("trixie", "trixie-security")
    wish = Wish.model_validate({"suites": suites, "packages": names} | options)
    return set(apt.closure(wish))


def test_dependencies_come_along_and_recommendations_do_not(apt: Apt) -> None:
    assert closure(apt, "app") == {
        "debian:pool/main/a/app/app_1.0-1_amd64.deb",
        "debian-security:pool/main/l/library/library_1.1_amd64.deb",
        "debian:pool/main/s/shell/shell_5.2+b1_amd64.deb",
    }


def test_a_set_takes_from_its_own_suites_only(apt: Apt) -> None:
    assert closure(apt, "library", suites=("trixie",)) == {
        "debian:pool/main/l/library/library_1.0_amd64.deb"
    }
    assert closure(apt, "library", suites=("sid",)) == {
        "debian:pool/main/l/library/library_9_amd64.deb"
    }


def test_what_debian_takes_for_granted_is_taken_on_demand(apt: Apt) -> None:
    assert closure(apt, "extra", essential=True) == {
        "debian:pool/main/e/extra/extra_1_amd64.deb",
        "debian:pool/main/s/shell/shell_5.2+b1_amd64.deb",
    }


def test_a_set_may_keep_some_of_its_closure(apt: Apt) -> None:
    assert closure(apt, "app", keep="lib.*") == {
        "debian-security:pool/main/l/library/library_1.1_amd64.deb"
    }


@pytest.mark.parametrize("name", ["broken", "no-such-package"])
def test_what_cannot_be_resolved_gives_apts_reason(name: str, apt: Apt) -> None:
    with pytest.raises(LockError, match=name) as caught:
        closure(apt, name)
    assert caught.value.code == "build.lock"


def test_records_hold_what_the_lists_say(apt: Apt) -> None:
    path = "debian-security:pool/main/l/library/library_1.1_amd64.deb"
    (record,) = apt.records({path: ("one", "two")})
    assert record == DebianPackage(
        name="library",
        version="1:1.1",
        architecture="amd64",
        suite="trixie-security",
        archive="debian-security",
        pool_path="pool/main/l/library/library_1.1_amd64.deb",
        size=1000,
        sha256=sha256_bytes(b"library_1.1_amd64.deb"),
        sets=("one", "two"),
    )


def test_a_file_of_two_suites_is_recorded_under_the_first(apt: Apt) -> None:
    (record,) = apt.records({"debian:pool/main/s/shell/shell_5.2+b1_amd64.deb": ("one",)})
    assert record.suite == "trixie"


def test_a_path_that_no_list_holds(apt: Apt) -> None:
    with pytest.raises(LockError, match="pool/x.deb") as caught:
        apt.records({"debian:pool/x.deb": ("one",)})
    assert caught.value.code == "build.lock"


def test_dates_are_written_as_the_snapshot_archive_does(apt: Apt) -> None:
    assert {entry.date for entry in apt.dates()} == {"20260102T030405Z"}
    assert [entry.suite for entry in apt.dates()] == list(PACKAGES)


@pytest.mark.parametrize("name", ["InRelease", "Release"])
def test_an_archive_without_debians_signature_is_refused(name: str, tmp_path: Path) -> None:
    with file_server() as server:
        server.files[f"debian/dists/trixie/{name}"] = RELEASE.format(suite="trixie").encode()
        archives = Archives(bases={"debian": f"{server.url}/debian"})
        apt = Apt(folder=tmp_path, archives=archives, architecture="amd64", suites=("trixie",))
        with pytest.raises(FetchError) as caught:
            apt.update()
    assert caught.value.code == "build.fetch"
    assert "sign" in str(caught.value)


def test_an_update_says_what_changed_and_what_there_is() -> None:
    """Each change is of a set, names the package, and both versions."""
    old = lock_of(
        package(b"1", "stays"), package(b"2", "moves", version="1"), package(b"3", "goes")
    )
    new = lock_of(
        package(b"1", "stays"), package(b"4", "moves", version="2"), package(b"5", "comes")
    )
    assert told_changes(old, new) == [
        "set: comes (new) → 1.0",
        "set: goes 1.0 → (gone)",
        "set: moves 1 → 2",
        "inputs.lock.toml: 3 packages, 3 changes",
    ]
    assert told_changes(None, new)[-1] == "inputs.lock.toml: 3 packages, 3 changes"
    assert told_changes(new, new) == ["inputs.lock.toml: 3 packages, 0 changes"]


def test_an_archive_that_cannot_be_reached_leaves_the_lock(tmp_path: Path) -> None:
    archives = Archives(bases={"debian": "http://127.0.0.1:9/debian"})
    apt = Apt(folder=tmp_path, archives=archives, architecture="amd64", suites=("trixie",))
    with pytest.raises(
        FetchError, match="(?s)E: Failed to fetch .*the lock is as it was"
    ) as caught:
        apt.update()
    assert caught.value.code == "build.fetch"
    assert "to replay" not in str(caught.value)
