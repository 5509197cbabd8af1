"""Facts about Debian packages, compared with what dpkg itself says about the same files."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from supply_chain import process
from supply_chain.digest import sha256_bytes, sha256_file
from supply_chain.inputs.deb import (
    PackageFormatError,
    PackedFile,
    merged,
    read_contents,
    read_control,
    read_tree,
)
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from tests.conftest import locked_tree
from tests.unit.supply_chain.inputs.samples import build_deb


@pytest.fixture
def initrd(lock: Lock, store: Store) -> None:
    locked_tree("initrd", lock, store)


@pytest.mark.usefixtures("initrd")
def test_descriptions_are_those_that_dpkg_reads(lock: Lock, store: Store) -> None:
    for package in lock.debian("initrd"):
        deb = store.path(package.sha256)
        said = subprocess.run(["dpkg-deb", "-f", deb], capture_output=True, check=True).stdout
        assert read_control(deb).strip() == said.decode().strip()


@pytest.mark.parametrize("content", [b"", b"!<arch>\n", b"!<arch>\n" + b"x" * 60, b"PK\3\4"])
def test_a_file_that_is_no_package_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.deb").write_bytes(content)
    with pytest.raises(PackageFormatError) as caught:
        read_control(tmp_path / "x.deb")
    assert caught.value.code == "build.package"


@pytest.mark.usefixtures("initrd")
def test_a_broken_control_archive_is_refused(tmp_path: Path, lock: Lock, store: Store) -> None:
    deb = bytearray(store.path(lock.debian("initrd")[0].sha256).read_bytes())
    at = deb.index(b"control.tar.xz") + 60
    deb[at + 20] ^= 0xFF
    (tmp_path / "x.deb").write_bytes(deb)
    with pytest.raises(PackageFormatError) as caught:
        read_control(tmp_path / "x.deb")
    assert caught.value.code == "build.package"


@pytest.mark.usefixtures("initrd")
def test_contents_are_what_dpkg_unpacks(tmp_path: Path, lock: Lock, store: Store) -> None:
    for package in lock.debian("initrd"):
        deb, root = store.path(package.sha256), tmp_path / package.name
        process.run(["dpkg-deb", "--extract", str(deb), str(root)])
        unpacked = {merged(path): found for path, found in read_tree(root).items()}
        contents = read_contents(deb, package.name)
        assert contents.files == unpacked
        terms = root / "usr/share/doc" / package.name / "copyright"
        assert contents.copyright == (terms.read_text() if terms.is_file() else "")


def test_links_and_hard_links_are_told_apart(tmp_path: Path) -> None:
    root = tmp_path / "x-root" / "lib"
    root.mkdir(parents=True)
    (root / "one").write_text("same")
    (root / "two").hardlink_to(root / "one")
    (root / "three").symlink_to("one")
    deb = tmp_path / "x.deb"
    deb.write_bytes(build_deb(tmp_path, "x", {"usr/share/doc/x/copyright": "terms"}))

    contents = read_contents(deb, "x")

    same = PackedFile(digest=sha256_bytes(b"same"), target=None)
    assert contents.files["usr/lib/one"] == contents.files["usr/lib/two"] == same
    assert contents.files["usr/lib/three"] == PackedFile(digest=None, target="one")
    assert contents.copyright == "terms"
    assert read_contents(deb, "y").copyright == ""


@pytest.mark.usefixtures("initrd")
def test_a_broken_data_archive_is_refused(tmp_path: Path, lock: Lock, store: Store) -> None:
    deb = bytearray(store.path(lock.debian("initrd")[0].sha256).read_bytes())
    deb[deb.index(b"data.tar.xz") + 80] ^= 0xFF
    (tmp_path / "x.deb").write_bytes(deb)
    with pytest.raises(PackageFormatError) as caught:
        read_contents(tmp_path / "x.deb", "x")
    assert caught.value.code == "build.package"


@pytest.mark.parametrize(
    ("packed", "there"),
    [
        ("./lib/x", "usr/lib/x"),
        ("./sbin/init", "usr/sbin/init"),
        ("./usr/bin/x", "usr/bin/x"),
        ("./etc/x", "etc/x"),
        ("lib64/ld.so", "usr/lib64/ld.so"),
        ("./.hidden", ".hidden"),
    ],
)
def test_paths_are_those_of_a_merged_root(packed: str, there: str) -> None:
    assert merged(packed) == there


def test_a_tree_with_a_socket_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert read_tree(tmp_path) == {
        "file": PackedFile(digest=sha256_file(tmp_path / "file"), target=None)
    }
    process.run(["mkfifo", str(tmp_path / "pipe")])
    with pytest.raises(PackageFormatError, match="pipe"):
        read_tree(tmp_path)
