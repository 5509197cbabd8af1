from __future__ import annotations

from pathlib import Path

import pytest

from deploy.azure.journal import Errand, Journal
from deploy.azure.piece import Piece

ERRAND = Errand(image_sha256="00" * 32, image_bytes=1 << 30, target="https://a.invalid/disk")
ONE, TWO = Piece(offset=0, length=512), Piece(offset=4096, length=512)


def written(path: Path) -> Path:
    with Journal.open(path, ERRAND) as journal:
        journal.begin(ONE)
        journal.finish(ONE)
        journal.begin(TWO)
    return path


def read(path: Path, errand: Errand = ERRAND) -> tuple[set[Piece], set[Piece]]:
    with Journal.open(path, errand) as journal:
        return journal.begun, journal.done


def test_the_next_run_knows_what_was_begun_and_what_was_done(tmp_path: Path) -> None:
    path = written(tmp_path / "new" / "journal")
    assert read(path) == ({ONE, TWO}, {ONE})
    assert read(path) == ({ONE, TWO}, {ONE})
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_torn_line_is_none_and_the_next_one_is_whole(tmp_path: Path) -> None:
    path = written(tmp_path / "journal")
    with path.open("ab") as file:
        file.write(b'{"what": "do')
    with Journal.open(path, ERRAND) as journal:
        assert journal.done == {ONE}
        journal.finish(TWO)
    assert read(path) == ({ONE, TWO}, {ONE, TWO})


@pytest.mark.parametrize(
    "other",
    [
        Errand(image_sha256="11" * 32, image_bytes=1 << 30, target="https://a.invalid/disk"),
        Errand(image_sha256="00" * 32, image_bytes=1 << 20, target="https://a.invalid/disk"),
        Errand(image_sha256="00" * 32, image_bytes=1 << 30, target="https://b.invalid/disk"),
    ],
)
def test_of_another_errand_it_says_nothing(tmp_path: Path, other: Errand) -> None:
    path = written(tmp_path / "journal")
    assert read(path, other) == (set(), set())
    # Nor does it come back.
    assert read(path) == (set(), set())


@pytest.mark.parametrize(
    "line", [b"no JSON\n", b'{"what": "gone", "offset": 0, "length": 1}\n', b"[]\n"]
)
def test_lines_that_no_version_wrote_make_all_of_it_void(tmp_path: Path, line: bytes) -> None:
    path = written(tmp_path / "journal")
    with path.open("ab") as file:
        file.write(line)
    assert read(path) == (set(), set())
