"""What an upload has sent, on this machine's disk: so that the next run goes on and sends the rest.

One line of JSON each: first which image goes where, then the beginning and the end of every piece.
A piece is written down before it is sent, so that whatever else is found in the blob was written
by somebody else. Lines go to the kernel at once: a killed run loses none. A machine that loses its
power may lose the last ones, and the upload then refuses a blob that holds more than it knows.
"""

from __future__ import annotations

import json
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

from deploy.azure.piece import Piece

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

_VERSION = 1
_BEGIN, _DONE = "begin", "done"


@dataclass(frozen=True, slots=True, kw_only=True)
class Errand:
    """Which image goes where; a journal is of one errand alone."""

    image_sha256: str
    image_bytes: int
    target: str
    """The blob's address, without the signature, which is a secret."""


@dataclass(slots=True)
class Journal:
    """The journal of one upload, open; several threads may write to it."""

    _descriptor: int
    begun: set[Piece] = field(default_factory=set)
    """What may have been sent."""
    done: set[Piece] = field(default_factory=set)
    """What Azure has confirmed."""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def open(cls, path: Path, errand: Errand) -> Self:
        """The journal of this errand: what the file says, or a new one.

        What it says of another errand, or not as this version writes it, counts for nothing: then
        the blob has to be empty.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        journal = cls(descriptor)
        head = _line(
            version=_VERSION,
            image_sha256=errand.image_sha256,
            image_bytes=errand.image_bytes,
            target=errand.target,
        )
        known = _parse(path.read_bytes(), head)
        if known is None:
            os.ftruncate(descriptor, 0)
            os.write(descriptor, head)
        else:
            journal.begun, journal.done, whole = known
            os.ftruncate(descriptor, whole)
        return journal

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def begin(self, piece: Piece) -> None:
        """This piece is about to be sent."""
        with self._lock:
            self._write(_BEGIN, piece)
            self.begun.add(piece)

    def finish(self, piece: Piece) -> None:
        """Azure has confirmed this piece."""
        with self._lock:
            self._write(_DONE, piece)
            self.done.add(piece)

    def _write(self, what: str, piece: Piece) -> None:
        os.write(self._descriptor, _line(what=what, offset=piece.offset, length=piece.length))


def _parse(data: bytes, head: bytes) -> tuple[set[Piece], set[Piece], int] | None:
    """What a journal with this first line says, and how much of it is whole; None for any other."""
    # What a torn write has left behind the last line's end is no line.
    whole = data.rpartition(b"\n")[0] + b"\n"
    if not whole.startswith(head):
        return None
    said: dict[str, set[Piece]] = {_BEGIN: set(), _DONE: set()}
    try:
        for line in whole.removeprefix(head).splitlines():
            entry = json.loads(line)
            said[entry["what"]].add(Piece(offset=entry["offset"], length=entry["length"]))
    except (ValueError, KeyError, TypeError):
        return None
    return said[_BEGIN], said[_DONE], len(whole)


def _line(**entry: str | int) -> bytes:
    return json.dumps(entry).encode() + b"\n"
