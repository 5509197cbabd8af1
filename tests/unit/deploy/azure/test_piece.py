from __future__ import annotations

import errno
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deploy.azure.piece import PIECE_BYTES, Coverage, Piece, data_bytes, data_pieces, read_piece

MIB = 1 << 20


def piece(offset: int, length: int) -> Piece:
    return Piece(offset=offset, length=length)


def sparse(path: Path, size: int, *runs: tuple[int, bytes]) -> Path:
    with path.open("wb") as file:
        file.truncate(size)
        for offset, data in runs:
            file.seek(offset)
            file.write(data)
    return path


def test_holes_are_in_no_piece(tmp_path: Path) -> None:
    image = sparse(tmp_path / "image", 64 * MIB, (0, b"a" * 4096), (30 * MIB, b"b" * 9 * MIB))
    with image.open("rb") as file:
        pieces = list(data_pieces(file.fileno(), 64 * MIB))
    assert pieces == [
        piece(0, 4096),
        piece(30 * MIB, PIECE_BYTES),
        piece(34 * MIB, PIECE_BYTES),
        piece(38 * MIB, MIB),
    ]
    assert data_bytes(image) == 4096 + 9 * MIB


def test_a_file_that_is_one_hole_has_none(tmp_path: Path) -> None:
    assert data_bytes(sparse(tmp_path / "image", 64 * MIB)) == 0


def test_zeros_that_are_allocated_are_cut_off(tmp_path: Path) -> None:
    data = bytes(8192) + b"x" + bytes(4095) + bytes(4096) + b"y" + bytes(20000)
    image = tmp_path / "image"
    image.write_bytes(data)
    with image.open("rb") as file:
        offset, found = read_piece(file.fileno(), piece(0, len(data)))
        assert (offset, len(found)) == (8192, 3 * 4096)
        assert found == data[8192 : 8192 + 3 * 4096]
        assert read_piece(file.fileno(), piece(16384, 4096))[1] != b""
        assert read_piece(file.fileno(), piece(0, 8192))[1] == b""


def test_the_last_page_is_filled(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"z" * 1000)
    with image.open("rb") as file:
        (only,) = data_pieces(file.fileno(), 1000)
        assert read_piece(file.fileno(), only) == (0, b"z" * 1000 + bytes(24))


def test_a_file_that_shrinks_is_an_error(tmp_path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(b"z" * 512)
    with image.open("rb") as file, pytest.raises(OSError, match="shorter") as caught:
        read_piece(file.fileno(), piece(0, 1024))
    assert caught.value.errno == errno.EIO


spans = st.builds(piece, st.integers(0, 40), st.integers(1, 12))


@given(st.lists(spans), spans)
def test_coverage_holds_what_every_byte_of_is_in_one(pieces: list[Piece], wanted: Piece) -> None:
    every = {byte for span in pieces for byte in range(span.offset, span.end)}
    assert Coverage.of(pieces).holds(wanted) == (set(range(wanted.offset, wanted.end)) <= every)
