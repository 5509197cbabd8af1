"""The pieces in which an image is sent: what of it is data, in pages, never a hole.

A page blob is zero where nothing was written, so what is zero in the image need not be sent.
"""

from __future__ import annotations

import errno
import os
from bisect import bisect_right
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

PIECE_BYTES = 4 << 20
"""The most that one Put Page takes."""
PAGE_BYTES = 512
"""Every offset and length is a multiple of it."""
_BLOCK_BYTES = 4096
"""In steps of this the ends of a piece are looked at for zeros: a block of the file system."""


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Piece:
    """A part of an image."""

    offset: int
    length: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which bytes a number of pieces hold together."""

    _runs: tuple[Piece, ...]

    @classmethod
    def of(cls, pieces: Iterable[Piece]) -> Self:
        """The bytes of these pieces; they may touch and overlap."""
        runs: list[Piece] = []
        for piece in sorted(pieces):
            if runs and piece.offset <= runs[-1].end:
                end = max(runs[-1].end, piece.end)
                runs[-1] = Piece(offset=runs[-1].offset, length=end - runs[-1].offset)
            else:
                runs.append(piece)
        return cls(tuple(runs))

    def holds(self, piece: Piece) -> bool:
        """Whether every byte of a piece is among them."""
        before = bisect_right(self._runs, piece.offset, key=attrgetter("offset"))
        return before > 0 and piece.end <= self._runs[before - 1].end


def data_pieces(descriptor: int, size: int) -> Iterator[Piece]:
    """What of a file is allocated, each run of it in as few pieces as it can be.

    A hole is in none of them, however small: what is sent is what is allocated.

    Args:
        descriptor: The open file.
        size: Its size in bytes.
    """
    for begin, end in _allocated(descriptor, size):
        for offset in range(begin, end, PIECE_BYTES):
            yield Piece(offset=offset, length=min(PIECE_BYTES, end - offset))


def data_bytes(path: Path) -> int:
    """How much of a file is allocated, which is the most that is sent of it."""
    with path.open("rb") as file:
        return sum(piece.length for piece in data_pieces(file.fileno(), path.stat().st_size))


def read_piece(descriptor: int, piece: Piece) -> tuple[int, bytes]:
    """The piece's data without the zeros at its ends, and where it begins; empty if all is zero.

    The last page of an image whose size is no multiple of 512 is filled with zeros.
    """
    data = os.pread(descriptor, piece.length, piece.offset)
    if len(data) != piece.length:
        raise OSError(errno.EIO, "the image became shorter while it was read")
    data += bytes(-len(data) % PAGE_BYTES)
    # rstrip and lstrip look at each zero once, which a loop over blocks would do no better.
    end = -(-len(data.rstrip(b"\0")) // _BLOCK_BYTES) * _BLOCK_BYTES
    data = data[:end]
    begin = (len(data) - len(data.lstrip(b"\0"))) // _BLOCK_BYTES * _BLOCK_BYTES
    return piece.offset + begin, data[begin:]


def _allocated(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Begin and end of each run of data, in whole pages.

    Source: Linux, lseek(2): a file system without holes answers that all of it is data.
    """
    position = 0
    while position < size:
        try:
            begin = os.lseek(descriptor, position, os.SEEK_DATA)
        except OSError as exc:
            # No data until the end.
            if exc.errno == errno.ENXIO:
                return
            raise
        end = os.lseek(descriptor, begin, os.SEEK_HOLE)
        # A file system with blocks below a page's size could tell bounds inside of one.
        begin -= begin % PAGE_BYTES
        position = min(end + -end % PAGE_BYTES, size)
        yield begin, position
