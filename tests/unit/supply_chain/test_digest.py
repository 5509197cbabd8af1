from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supply_chain.digest import Sha256, sha256_bytes, sha256_file, sha256_private, sha256_tree

EMPTY = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


def test_the_empty_digest_is_the_well_known_one() -> None:
    digest = sha256_bytes(b"")
    assert digest.hex == EMPTY
    assert str(digest) == f"sha256:{EMPTY}"
    assert len(digest.bytes) == 32


@given(st.binary(min_size=32, max_size=32))
def test_hexadecimal_and_back(data: bytes) -> None:
    assert Sha256.from_hex(Sha256(data).hex) == Sha256(data)


@pytest.mark.parametrize(
    "text",
    ["", EMPTY[:-1], EMPTY + "0", EMPTY.upper(), f"sha256:{EMPTY}", f" {EMPTY}", f"{EMPTY}\n"],
)
def test_any_other_way_of_writing_a_digest_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected 64 lowercase"):
        Sha256.from_hex(text)


def test_a_digest_has_32_bytes() -> None:
    with pytest.raises(ValueError, match="expected 32 bytes, got 20"):
        Sha256(b"\0" * 20)


@pytest.mark.parametrize("size", [0, 1, 4096, 300_000])
def test_a_file_has_the_digest_of_its_bytes(tmp_path: Path, size: int) -> None:
    data = os.urandom(size)
    (tmp_path / "file").write_bytes(data)
    for digest in (sha256_file, sha256_private):
        assert digest(tmp_path / "file").hex == hashlib.sha256(data).hexdigest()


def make_tree(root: Path) -> Path:
    (root / "dir").mkdir(parents=True)
    (root / "empty").mkdir()
    (root / "dir" / "file").write_bytes(b"content")
    (root / "link").symlink_to("dir/file")
    for path in (root / "dir", root / "empty"):
        path.chmod(0o755)
    (root / "dir" / "file").chmod(0o644)
    return root


def test_equal_trees_have_one_digest_whatever_their_times(tmp_path: Path) -> None:
    first, second = make_tree(tmp_path / "a"), make_tree(tmp_path / "b")
    os.utime(second / "dir" / "file", (0, 0))
    assert sha256_tree(first) == sha256_tree(second)


def swap_names(root: Path) -> None:
    (root / "dir" / "file").rename(root / "dir" / "other")


def change_link(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("dir/other")


def link_to_file(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").write_bytes(b"dir/file")


@pytest.mark.parametrize(
    "mutation",
    [
        lambda root: (root / "dir" / "file").write_bytes(b"Content"),
        lambda root: (root / "dir" / "file").chmod(0o755),
        lambda root: (root / "dir").chmod(0o700),
        lambda root: (root / "empty").rmdir(),
        lambda root: (root / "new").touch(),
        swap_names,
        change_link,
        link_to_file,
    ],
)
def test_any_change_gives_another_digest(
    mutation: Callable[[Path], object], tmp_path: Path
) -> None:
    root = make_tree(tmp_path / "tree")
    before = sha256_tree(root)
    mutation(root)
    assert sha256_tree(root) != before


def test_a_pipe_has_no_content_to_hash(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValueError, match="expected a file, a directory or a symbolic link"):
        sha256_tree(tmp_path)
