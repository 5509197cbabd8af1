"""A socket's file outlives its server, and keeps the next one from taking its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PATIENCE_S = 1.0
"""How long a file must have been without a listener: a server binds a moment before it listens."""


class AbandonedSocket:
    """The file of a socket, removed when nobody listens at it any more.

    A model server that is killed leaves its file in the volume that outlives its container.
    llama-server does not remove it, and cannot bind.
    """

    def __init__(self, path: Path, clock: Callable[[], float]) -> None:
        """Nobody was refused yet.

        Args:
            path: The file.
            clock: Seconds that never go back.
        """
        self._path, self._clock = path, clock
        self._refused: tuple[tuple[int, int], float] | None = None

    def refused(self) -> None:
        """A connection was refused: the file goes, if the same one refused some time ago too."""
        try:
            found = self._path.lstat()
        except OSError:
            self._refused = None
            return
        which, now = (found.st_ino, found.st_mtime_ns), self._clock()
        if self._refused is None or self._refused[0] != which:
            self._refused = which, now
        elif now - self._refused[1] >= PATIENCE_S:
            self._path.unlink(missing_ok=True)
            self._refused = None
