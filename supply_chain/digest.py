"""SHA-256 digests as values: of bytes, of files and of directory trees."""

from __future__ import annotations

import hashlib
import mmap
import os
import re
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path

SIZE_BYTES = 32
_HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, order=True)
class Sha256:
    """A SHA-256 digest; `str()` gives `sha256:` and 64 lowercase hexadecimal digits."""

    bytes: bytes
    """The 32 bytes of the digest."""

    def __post_init__(self) -> None:
        """Refuse anything that is not 32 bytes long."""
        if len(self.bytes) != SIZE_BYTES:
            msg = f"SHA-256 digest: expected {SIZE_BYTES} bytes, got {len(self.bytes)}"
            raise ValueError(msg)

    @classmethod
    def from_hex(cls, text: str) -> Self:
        """The digest written as exactly 64 lowercase hexadecimal digits.

        Raises:
            ValueError: The text has another length, capitals, spaces or a prefix.
        """
        if _HEX.fullmatch(text) is None:
            msg = f"SHA-256 digest: expected 64 lowercase hexadecimal digits, got {text!r}"
            raise ValueError(msg)
        return cls(bytes.fromhex(text))

    @property
    def hex(self) -> str:
        """The digest as 64 lowercase hexadecimal digits."""
        return self.bytes.hex()

    def __str__(self) -> str:
        """The digest with the name of its algorithm before it."""
        return f"sha256:{self.hex}"


def sha256_bytes(data: bytes) -> Sha256:
    """The digest of these bytes."""
    return Sha256(hashlib.sha256(data).digest())


def sha256_file(path: Path) -> Sha256:
    """The digest of a file's content, read in pieces."""
    with path.open("rb") as file:
        return Sha256(hashlib.file_digest(file, "sha256").digest())


def sha256_private(path: Path) -> Sha256:
    """The digest of a file that nobody else can change, mapped and not copied into this process.

    That saves a seventh of the time. A file that is cut meanwhile ends the process (SIGBUS).
    """
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size == 0:
            return sha256_bytes(b"")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            data.madvise(mmap.MADV_SEQUENTIAL)
            return Sha256(hashlib.sha256(data).digest())


def sha256_tree(path: Path) -> Sha256:
    """The digest of a directory: names, kinds, permission bits, contents and link targets.

    Owners and times are left out: they belong to the machine that holds the copy.

    Raises:
        ValueError: The tree holds a device, a socket or a pipe.
    """
    return Sha256(_tree_hash(path).digest())


def _tree_hash(directory: Path) -> hashlib._Hash:
    # Every field is terminated or of fixed size, so that two different trees
    # never give the same stream: a name cannot run into its neighbour's content.
    hasher = hashlib.sha256()
    for entry in sorted(os.scandir(directory), key=lambda entry: os.fsencode(entry.name)):
        mode = entry.stat(follow_symlinks=False).st_mode
        permissions = b"%04o" % stat.S_IMODE(mode)
        path = directory / entry.name
        if stat.S_ISLNK(mode):
            # The permission bits of a symbolic link mean nothing on Linux.
            kind, content = b"l", sha256_bytes(os.fsencode(path.readlink())).bytes
        elif stat.S_ISDIR(mode):
            kind, content = b"d" + permissions, _tree_hash(path).digest()
        elif stat.S_ISREG(mode):
            kind, content = b"f" + permissions, sha256_file(path).bytes
        else:
            msg = f"{path}: expected a file, a directory or a symbolic link, got mode {mode:o}"
            raise ValueError(msg)
        hasher.update(kind + b"\0" + os.fsencode(entry.name) + b"\0" + content)
    return hasher
