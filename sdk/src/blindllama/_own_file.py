"""A file of the client's own, read and replaced as a whole by several processes at once.

It is written aside, flushed to the disk and renamed: a crash leaves the old content or the new. The
lock dies with the process that holds it, so that a killed client holds up nobody.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from blindllama.errors import UsageError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["OwnFile"]

_POLL_S = 0.01


class OwnFile:
    """One file; beside it stays an empty `.NAME.lock`."""

    def __init__(self, path: Path, *, what: str) -> None:
        """Read nothing yet; the file need not exist, its folder must.

        Args:
            path: Where it is.
            what: What it holds, for errors.
        """
        self._path = path
        self._what = what

    def __str__(self) -> str:
        """Return what it is and where, for errors."""
        return f"{self._what}, {self._path}"

    def read(self) -> bytes | None:
        """Return the content, or None where there is no file.

        Raises:
            UsageError: it cannot be read.
        """
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as exc:
            raise self._error(exc) from exc

    @contextlib.contextmanager
    def locked(self, timeout_s: float) -> Iterator[None]:
        """Keep other clients out: of two that write at once, one would undo the other's memory.

        Raises:
            UsageError: another client has it for too long, or the folder cannot be written to.
        """
        lock = self._path.with_name(f".{self._path.name}.lock")
        deadline = time.monotonic() + timeout_s
        try:
            file = lock.open("ab")
        except OSError as exc:
            raise self._error(exc) from exc
        with file:
            while not _try_lock(file.fileno()):
                if time.monotonic() >= deadline:
                    raise UsageError(f"{self}: another client has held {lock} for {timeout_s} s")
                time.sleep(_POLL_S)
            yield

    def replace(self, data: bytes) -> None:
        """Put the data in the place of the content.

        Raises:
            UsageError: it cannot be written; the old content is still there.
        """
        try:
            self._replace(data)
        except OSError as exc:
            raise self._error(exc) from exc

    def _replace(self, data: bytes) -> None:
        folder = self._path.parent
        descriptor, name = tempfile.mkstemp(dir=folder, prefix=f".{self._path.name}.")
        aside = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
            _sync_folder(folder)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                aside.unlink()
            raise

    def _error(self, exc: OSError) -> UsageError:
        return UsageError(f"{self}: {exc.strerror or exc}")


if sys.platform == "win32":

    def _try_lock(descriptor: int) -> bool:
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _sync_folder(folder: Path) -> None:
        """Do nothing: a folder cannot be opened there, and NTFS keeps a journal of names."""

else:

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _sync_folder(folder: Path) -> None:
        """Make the new name survive a power cut."""
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
