"""dm-verity hash trees without a superblock: nothing that opens the image is read from the image.

The salt, the algorithm and the number of blocks are part of what is measured (the initrd and the
kernel command line, or the descriptor that is extended into PCR 15), so a disk cannot bring its own.

Source: Linux, Documentation/admin-guide/device-mapper/verity.rst; cryptsetup, veritysetup(8).
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError
from supply_chain.inputs.tree import Bind, Tree

if TYPE_CHECKING:
    from pathlib import Path

BLOCK_BYTES = 4096
HASH_TYPE = 1
"""The format with the salt before the data of each block."""
ALGORITHM = "sha256"
DIGEST_BYTES = 32

_DATA = "/mnt/data"
_OUT = "/mnt/out"


class VerityError(BuildError):
    """An image cannot be given a hash tree, or the tool's answer is no root hash."""

    code = "disk.verity"


@dataclass(frozen=True, slots=True, kw_only=True)
class VerityTree:
    """All that opens a verity device, besides the two devices."""

    root_hash: bytes
    """32 bytes: the hash of the topmost block of the tree."""
    data_blocks: int
    """How many blocks of data the tree covers."""
    salt: bytes
    """Hashed before the data of each block."""
    algorithm: str = ALGORITHM
    """The hash of the tree."""
    block_size: int = BLOCK_BYTES
    """The size of data blocks and of hash blocks, in bytes."""

    def __post_init__(self) -> None:
        """Refuse a root hash of another size."""
        if len(self.root_hash) != DIGEST_BYTES:
            msg = f"verity root hash: expected {DIGEST_BYTES} bytes, got {len(self.root_hash)}"
            raise VerityError(msg)


def verity_salt(what: str) -> bytes:
    """Return the fixed salt of an image kind: SHA-256 of `blindllama root` or `blindllama app`.

    It keeps trees of different kinds apart; it is no secret, and a random one cannot be repeated.
    """
    return sha256(f"blindllama {what}".encode()).digest()


def verity_argv(
    data: str, hashes: str, *, root_hash_file: str, data_blocks: int, salt: bytes
) -> list[str]:
    """Return the veritysetup command that writes a hash tree without a superblock."""
    return [
        "veritysetup",
        "format",
        "--no-superblock",
        f"--format={HASH_TYPE}",
        f"--hash={ALGORITHM}",
        f"--data-block-size={BLOCK_BYTES}",
        f"--hash-block-size={BLOCK_BYTES}",
        f"--data-blocks={data_blocks}",
        f"--salt={salt.hex()}",  # a random one by default
        f"--root-hash-file={root_hash_file}",
        data,
        hashes,
    ]


def build_verity(image: Path, hash_image: Path, *, tools: Tree, salt: bytes) -> VerityTree:
    """Write the hash tree of `image` into `hash_image` and return what opens the pair.

    Args:
        image: The data; whole blocks of 4096 bytes.
        hash_image: The file to write; an existing one is replaced.
        tools: Where veritysetup is.
        salt: At most 256 bytes.

    Raises:
        VerityError: The image is empty or not made of whole blocks.
        CommandError: veritysetup refused.
    """
    data_blocks, rest = divmod(image.stat().st_size, BLOCK_BYTES)
    if rest or not data_blocks:
        raise VerityError(
            f"{image.name}: expected whole blocks of {BLOCK_BYTES} bytes, "
            f"got {image.stat().st_size} bytes"
        )
    root_hash_file = hash_image.with_name(f"{hash_image.name}.roothash")
    # veritysetup writes into what is there: a longer old tree would leave its end behind.
    hash_image.write_bytes(b"")
    tools.run(
        verity_argv(
            _DATA,
            f"{_OUT}/{hash_image.name}",
            root_hash_file=f"{_OUT}/{root_hash_file.name}",
            data_blocks=data_blocks,
            salt=salt,
        ),
        binds=[
            Bind(host=image, inside=_DATA, read_only=True),
            Bind(host=hash_image.parent, inside=_OUT, read_only=False),
        ],
    )
    root_hash = bytes.fromhex(root_hash_file.read_text(encoding="ascii").strip())
    root_hash_file.unlink()
    return VerityTree(root_hash=root_hash, data_blocks=data_blocks, salt=salt)
