"""The newest release that this client has accepted: what a server cannot make it forget.

A small JSON file, if the caller wants one. It is replaced as a whole, so that a crash leaves the
old one; a file that cannot be read is an error and not an empty memory.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from blindllama._strict_json import canonical_json, parse_json, parse_model
from blindllama.errors import FormatError, UsageError

__all__ = ["ReleaseMemory"]

_STEP = 4
_LIMIT_BYTES = 1 << 20
_LOCK_TIMEOUT_S = 10.0
_LOCK_POLL_S = 0.01


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    sequences: dict[str, Annotated[int, Field(ge=1)]]


class ReleaseMemory:
    """Remembers the highest accepted sequence of each release line in one file."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet; the file need not exist, its folder must."""
        self._path = path

    def newest(self, line: str) -> int | None:
        """Return the highest sequence that was remembered for a release line, if one was.

        Args:
            line: Name of the line, made of everything that tells two of them apart.

        Raises:
            UsageError: the file cannot be read.
        """
        return self._read().get(line)

    def remember(self, line: str, sequence: int) -> None:
        """Remember the sequence if it is higher than what the file holds by now.

        Raises:
            UsageError: the file cannot be read or written.
        """
        if self._read().get(line, 0) >= sequence:
            return
        try:
            with self._locked():
                sequences = self._read()
                newest = max(sequence, sequences.get(line, 0))
                document = {"version": 1, "sequences": {**sequences, line: newest}}
                self._replace(canonical_json(document))
        except OSError as exc:
            raise UsageError(f"memory of releases, {self._path}: {exc.strerror or exc}") from exc

    def _read(self) -> dict[str, int]:
        try:
            data = self._path.read_bytes()
        except FileNotFoundError:
            return {}
        except OSError as exc:
            raise UsageError(f"memory of releases, {self._path}: {exc.strerror or exc}") from exc
        what = "memory of releases"
        try:
            value = parse_json(data, limit=_LIMIT_BYTES, step=_STEP, what=what)
            return parse_model(value, _File, step=_STEP, what=what).sequences
        except FormatError as exc:
            raise UsageError(f"{self._path}: {exc}; remove it to forget on purpose") from exc

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep other clients out: of two that write at once, one would undo the other's memory."""
        lock = self._path.with_name(f".{self._path.name}.lock")
        deadline = time.monotonic() + _LOCK_TIMEOUT_S
        while True:
            try:
                os.close(os.open(lock, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                break
            except FileExistsError as exc:
                if time.monotonic() >= deadline:
                    raise UsageError(
                        f"memory of releases: {lock} is there; remove it if no client runs"
                    ) from exc
                time.sleep(_LOCK_POLL_S)
        try:
            yield
        finally:
            lock.unlink()

    def _replace(self, data: bytes) -> None:
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}.")
        aside = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._path)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                aside.unlink()
            raise
