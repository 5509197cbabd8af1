"""The newest release that this client has accepted: what a server cannot make it forget.

A small JSON file, if the caller wants one. A file that cannot be read is an error and not an empty
memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from blindllama._own_file import OwnFile
from blindllama._strict_json import canonical_json, parse_json, parse_model
from blindllama.errors import FormatError, UsageError

__all__ = ["ReleaseMemory"]

_STEP = 4
_LIMIT_BYTES = 1 << 20
_LOCK_TIMEOUT_S = 10.0


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1]
    sequences: dict[str, Annotated[int, Field(ge=1)]]


class ReleaseMemory:
    """Remembers the highest accepted sequence of each release line in one file."""

    def __init__(self, path: Path) -> None:
        """Read nothing yet; the file need not exist, its folder must."""
        self._file = OwnFile(path, what="memory of releases")

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
        with self._file.locked(_LOCK_TIMEOUT_S):
            sequences = self._read()
            newest = max(sequence, sequences.get(line, 0))
            document = {"version": 1, "sequences": {**sequences, line: newest}}
            self._file.replace(canonical_json(document))

    def _read(self) -> dict[str, int]:
        data = self._file.read()
        if data is None:
            return {}
        what = "memory of releases"
        try:
            value = parse_json(data, limit=_LIMIT_BYTES, step=_STEP, what=what)
            return parse_model(value, _File, step=_STEP, what=what).sequences
        except FormatError as exc:
            raise UsageError(f"{self._file}: {exc}; remove it to forget on purpose") from exc
