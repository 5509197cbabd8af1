"""An image becomes a disk in Azure: its data is sent, its holes are not, and a kill costs little.

1. The blob has the size that the image needs, and holds nothing but what this journal wrote.
2. What the journal says is done and the blob says is there is not sent again.
3. The footer comes last: until then the disk is not a valid one.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from deploy.azure import vhd
from deploy.azure.errors import AzureError, Reason
from deploy.azure.journal import Errand, Journal
from deploy.azure.pageblob import PageBlob, SignatureError, TryLaterError, target_of
from deploy.azure.piece import Coverage, Piece, data_pieces, read_piece
from supply_chain.digest import sha256_bytes
from supply_chain.workspace import held

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from supply_chain.digest import Sha256
    from supply_chain.progress import Progress

MOST_WORKERS = 8
"""More are not faster: Azure takes 60 MiB a second and 500 requests a second for one blob."""
_WAITS_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
"""How long it is left alone after each failure of the same request."""
_MOST_WAIT_S = 120.0
"""No service makes it wait longer."""
_WORTH_A_NOTE_S = 4.0
"""A shorter wait is not worth a line."""
_NOTE_S = 10.0
"""How often the progress is told."""

_Result = TypeVar("_Result")


class Grant(Protocol):
    """Where the address of the blob comes from, with a signature that is good for a while."""

    def __call__(self) -> str:
        """A new address; asked once at the beginning, and whenever the last one is refused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """A raw image with the digest that its release says it has."""

    path: Path
    sha256: Sha256


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """What an upload did."""

    sent_bytes: int
    """Bytes of pages that this run sent, with the footer."""
    kept_bytes: int
    """Bytes of pages that an earlier run had sent."""
    disk_bytes: int
    """The size of the disk."""


def upload(
    image: Image,
    grant: Grant,
    *,
    journals: Path,
    progress: Progress,
    workers: int = MOST_WORKERS,
    sleep: Callable[[float], None] = time.sleep,
) -> Uploaded:
    """The disk in Azure holds the image; what was sent before is not sent again.

    Args:
        image: What is sent; it must not change meanwhile.
        grant: Gives the address of the disk's blob with a signature for writing.
        journals: The directory of journals; each blob has its own.
        progress: Where to tell what goes on.
        workers: How many pieces are on their way at once, 8 at most.
        sleep: Waits for some seconds.

    Raises:
        AzureError: The disk has another size or holds other data, access ended, or Azure failed.
    """
    size = image.path.stat().st_size
    blob = _Renewable(grant, sleep, progress)
    try:
        errand = Errand(image_sha256=image.sha256.hex, image_bytes=size, target=blob.target)
        path = journals / f"{sha256_bytes(blob.target.encode()).hex[:32]}.jsonl"
        with (
            held(path.with_suffix(".lock"), progress, "another upload to this disk"),
            Journal.open(path, errand) as written,
            image.path.open("rb") as file,
        ):
            there = _accepted(blob, written, vhd.upload_bytes(size))
            pieces = list(data_pieces(file.fileno(), size))
            sender = _Sender(file.fileno(), blob, written, there, progress, pieces)
            sender.send_all(pieces, min(workers, MOST_WORKERS))
            tail = vhd.footer(size, image.sha256)
            sender.send(vhd.disk_bytes(size), tail)
            return Uploaded(
                sent_bytes=sender.sent, kept_bytes=sender.kept, disk_bytes=vhd.disk_bytes(size)
            )
    finally:
        blob.close()


def _accepted(blob: _Renewable, journal: Journal, wanted: int) -> Coverage:
    """What is in the blob, once it is certain that it is the one for this image.

    Raises:
        AzureError: It has another size, or holds what the journal did not write.
    """
    size = blob.ask(lambda it: it.size())
    if size != wanted:
        raise AzureError(
            Reason.SIZE,
            f"disk in Azure: expected uploadSizeBytes {wanted}, got {size}; "
            "delete it and make it with that size",
        )
    there = blob.ask(lambda it: it.written())
    begun = Coverage.of(journal.begun)
    unknown = next((span for span in there if not begun.holds(span)), None)
    if unknown is not None:
        raise AzureError(
            Reason.UNKNOWN_DATA,
            f"disk in Azure: expected nothing but what this upload wrote, got data at byte "
            f"{unknown.offset}; a disk cannot be cleared: delete it and make it again",
        )
    return Coverage.of(there)


class _Renewable:
    """A blob whose signature is renewed when it is refused; several threads may use it."""

    def __init__(self, grant: Grant, sleep: Callable[[float], None], progress: Progress) -> None:
        self._grant = grant
        self._sleep = sleep
        self._progress = progress
        self._lock = threading.Lock()
        self._closed: list[PageBlob] = []
        address = grant()
        self.target = target_of(address)
        self._blob = PageBlob(address)

    def close(self) -> None:
        for blob in (*self._closed, self._blob):
            blob.close()

    def ask(self, what: Callable[[PageBlob], _Result]) -> _Result:
        """What it answers, with patience.

        Raises:
            AzureError: It failed too often, or a new signature is refused too.
        """
        failures, renewed = 0, False
        while True:
            blob = self._blob
            try:
                return what(blob)
            except TryLaterError as exc:
                if failures == len(_WAITS_S):
                    raise AzureError(
                        Reason.UPLOAD_UNAVAILABLE,
                        f"disk in Azure: failed {failures + 1} times, the last time with {exc}; "
                        "run the same again: it goes on where it was",
                    ) from exc
                wait_s = min(max(_WAITS_S[failures], exc.after_s), _MOST_WAIT_S)
                if wait_s >= _WORTH_A_NOTE_S:
                    self._progress.note(f"disk in Azure: {exc}; asked again in {wait_s:.0f} s")
                self._sleep(wait_s)
                failures += 1
            except SignatureError as exc:
                if renewed:
                    raise _no_access(f"a new signature is refused too: {exc}") from exc
                self._renew(blob)
                renewed = True

    def _renew(self, refused: PageBlob) -> None:
        with self._lock:
            # Another thread may have been here first.
            if self._blob is not refused:
                return
            address = self._grant()
            if target_of(address) != self.target:
                raise _no_access("the new address is of another disk")
            self._closed.append(self._blob)
            self._blob = PageBlob(address)


def _no_access(why: str) -> AzureError:
    return AzureError(
        Reason.ACCESS,
        f"disk in Azure: expected a signature for writing, {why}; grant access for writing again",
    )


class _Sender:
    """Sends pieces and counts them."""

    def __init__(
        self,
        descriptor: int,
        blob: _Renewable,
        journal: Journal,
        there: Coverage,
        progress: Progress,
        pieces: list[Piece],
    ) -> None:
        self._descriptor = descriptor
        self._blob = blob
        self._journal = journal
        # A journal alone is not believed: the disk may have been made anew under the same name.
        self._kept = {piece for piece in journal.done if there.holds(piece)}
        self._progress = progress
        self._lock = threading.Lock()
        self._failed = threading.Event()
        self._all = sum(piece.length for piece in pieces)
        self._read = 0
        self._told = time.monotonic()
        self.sent = 0
        self.kept = 0

    def send_all(self, pieces: list[Piece], workers: int) -> None:
        """Every piece is in the blob; after the first failure nothing more is begun."""
        pool = ThreadPoolExecutor(workers, thread_name_prefix="upload")
        try:
            futures = [pool.submit(self._send_piece, piece) for piece in pieces]
            done, _ = wait(futures, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
        finally:
            # Otherwise Ctrl-C would wait until all that is queued was sent.
            pool.shutdown(cancel_futures=True)

    def send(self, offset: int, data: bytes) -> None:
        """This data is in the blob at this place."""
        piece = Piece(offset=offset, length=len(data))
        if piece in self._kept:
            with self._lock:
                self.kept += len(data)
            return
        self._journal.begin(piece)
        self._blob.ask(lambda it: it.put(offset, data))
        self._journal.finish(piece)
        with self._lock:
            self.sent += len(data)

    def _send_piece(self, piece: Piece) -> None:
        # Until the queue is emptied, a worker that has failed would begin the next piece.
        if self._failed.is_set():
            return
        try:
            self._read_and_send(piece)
        except BaseException:
            self._failed.set()
            raise

    def _read_and_send(self, piece: Piece) -> None:
        offset, data = read_piece(self._descriptor, piece)
        if data:
            self.send(offset, data)
        with self._lock:
            self._read += piece.length
            now = time.monotonic()
            if now - self._told < _NOTE_S:
                return
            self._told = now
            self._progress.note(
                f"{self._read >> 20} of {self._all >> 20} MiB, "
                f"{self._read * 100 // self._all} %, {self.sent >> 20} MiB sent now"
            )
