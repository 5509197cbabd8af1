"""What a client remembers of a repository: the documents it has verified, the newest release.

One file with a digest of its own. Damage is an error and not an empty memory: the tuf library
drops a document that does not verify without a word, and the protection from rollback with it.
"""

from __future__ import annotations

import contextlib
import hashlib
import threading
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from blindllama._own_file import OwnFile
from blindllama._strict_json import canonical_json, parse_json, parse_model
from blindllama.errors import FormatError, UsageError
from blindllama.measurements import Sha256Hex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["FileMemory", "Memory", "ProcessMemory", "Remembered"]

FILE: Final = "repository.json"
_STEP = 4
_WHAT = "memory of the repository"
_LIMIT_BYTES = 8 << 20
_MARGIN_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """What was verified in earlier updates."""

    documents: Mapping[str, bytes] = field(default_factory=lambda: MappingProxyType({}))
    """TUF documents by their names."""
    name: str | None = None
    """Name of the releases."""
    sequence: int = 0
    """The highest that the repository has called its newest."""


class _Content(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    version: Literal[1] = 1
    name: str | None
    sequence: Annotated[int, Field(ge=0)]
    documents: dict[
        Annotated[
            str, Field(pattern=r"^([1-9][0-9]{0,8}\.root|timestamp|snapshot|targets)\.json$")
        ],
        str,
    ]


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    content: _Content
    sha256: Sha256Hex


class ProcessMemory:
    """A memory that ends with the process."""

    def __init__(self) -> None:
        """Remember nothing yet."""
        self._lock = threading.Lock()
        self._remembered = Remembered()

    @contextlib.contextmanager
    def held(self, _timeout_s: float) -> Iterator[None]:
        """Keep other threads out, so that none undoes what another has remembered."""
        with self._lock:
            yield

    def load(self) -> Remembered:
        """Return what is remembered."""
        return self._remembered

    def store(self, remembered: Remembered) -> None:
        """Remember this instead."""
        self._remembered = remembered


class FileMemory:
    """A memory in a folder of its own, shared by processes."""

    def __init__(self, folder: Path) -> None:
        """Read nothing yet; the folder is made on first use."""
        self._folder = folder
        self._file = OwnFile(folder / FILE, what=_WHAT)

    @contextlib.contextmanager
    def held(self, timeout_s: float) -> Iterator[None]:
        """Keep other clients out during an update, which takes no longer than the timeout.

        Raises:
            UsageError: the folder cannot be written to, or another client does not let go.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise UsageError(f"{self._file}: {exc.strerror or exc}") from exc
        with self._file.locked(timeout_s + _MARGIN_S):
            yield

    def load(self) -> Remembered:
        """Return what is remembered.

        Raises:
            UsageError: the file is damaged or cannot be read.
        """
        data = self._file.read()
        if data is None:
            return Remembered()
        try:
            value = parse_json(data, limit=_LIMIT_BYTES, step=_STEP, what=_WHAT)
            file = parse_model(value, _File, step=_STEP, what=_WHAT)
        except FormatError as exc:
            raise self._damaged(str(exc)) from exc
        if _digest(file.content) != file.sha256:
            raise self._damaged("its content does not have its digest")
        documents = {name: text.encode() for name, text in file.content.documents.items()}
        return Remembered(
            documents=MappingProxyType(documents),
            name=file.content.name,
            sequence=file.content.sequence,
        )

    def store(self, remembered: Remembered) -> None:
        """Replace the file, if it would change.

        Raises:
            UsageError: it cannot be written.
        """
        content = _Content(
            name=remembered.name,
            sequence=remembered.sequence,
            documents={name: data.decode() for name, data in remembered.documents.items()},
        )
        data = canonical_json(
            _File(content=content, sha256=_digest(content)).model_dump(mode="json")
        )
        if data != self._file.read():
            self._file.replace(data)

    def _damaged(self, why: str) -> UsageError:
        return UsageError(f"{self._file}: {why}; remove it to forget on purpose")


Memory = FileMemory | ProcessMemory


def _digest(content: _Content) -> Sha256Hex:
    return hashlib.sha256(canonical_json(content.model_dump(mode="json"))).hexdigest()
