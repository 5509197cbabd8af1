"""The content-addressed store: bytes under the name of their digest, or not there at all."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.errors import DigestMismatchError
from supply_chain.workspace import replace_file


@dataclass(frozen=True, slots=True)
class Store:
    """A directory of inputs; what is in it was checked when it went in."""

    root: Path

    def path(self, digest: Sha256) -> Path:
        """Where these bytes are, or would be."""
        return self.root / "sha256" / digest.hex[:2] / digest.hex

    def has(self, digest: Sha256) -> bool:
        """Whether these bytes are there."""
        return self.path(digest).is_file()

    def part(self, digest: Sha256) -> Path:
        """Where an unfinished download of these bytes waits to be resumed."""
        return self.root / "part" / f"{digest.hex}.part"

    def put(self, source: Path | bytes, expected: Sha256, *, name: str = "") -> Path:
        """The bytes are in the store; their path there.

        Args:
            source: Bytes, or a file that is copied.
            expected: The digest that the lock demands.
            name: What an error calls the input.

        Raises:
            DigestMismatchError: The bytes are others; nothing of them is kept.
        """
        data = source if isinstance(source, bytes) else source.read_bytes()
        got = sha256_bytes(data)
        if got != expected:
            raise DigestMismatchError(name or expected.hex, expected, got)
        target = self.path(expected)
        replace_file(target, data)
        target.chmod(0o444)
        return target

    def adopt(self, part: Path, expected: Sha256, *, name: str) -> Path:
        """The finished download is in the store; its path there.

        Raises:
            DigestMismatchError: The bytes are others; the download is removed.
        """
        got = sha256_file(part)
        if got != expected:
            part.unlink()
            raise DigestMismatchError(name, expected, got)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        target = self.path(expected)
        target.parent.mkdir(parents=True, exist_ok=True)
        part.chmod(0o444)
        part.replace(target)
        return target
