"""Private keys and other secrets of the instance: files that only their owner may read.

A key is made once, under the lock of the state folder, and found again by every later run. The
folder is 0700 and each file 0600; a file that others can read is refused rather than used, as ssh
does, because a key that leaked signs releases that nobody made. With a passphrase, the keys are
encrypted as well.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import stat
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from supply_chain.errors import BuildError
from supply_chain.private_key import is_encrypted, key_pem, open_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import ClassVar

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

OTHERS = stat.S_IRWXG | stat.S_IRWXO
"""The permission bits that a secret must not have."""


class LocalSigstoreError(BuildError):
    """The local Sigstore instance cannot be used as it stands on disk."""

    code: ClassVar[str] = "build.local_sigstore"


def private_folder(path: Path) -> Path:
    """The folder, made if it was missing, that only its owner may enter."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.chmod(0o700)
    return path


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file exclusively, against other threads and other processes alike.

    The kernel drops the lock when the process dies, however it dies.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable, so that a new file survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_secret(path: Path, data: bytes) -> None:
    """Write a 0600 file that appears whole or not at all."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def read_secret(path: Path) -> bytes:
    """The content of a secret file.

    Raises:
        LocalSigstoreError: Others than the owner may read or write the file.
    """
    with path.open("rb") as file:
        mode = os.fstat(file.fileno()).st_mode
        if mode & OTHERS:
            raise LocalSigstoreError(
                f"{path} holds a secret: expected mode 0600, got {stat.S_IMODE(mode):04o}; "
                "if nobody else has read it, run chmod 600 on it, else delete the folder"
            )
        return file.read()


def found_or_made(path: Path, make: Callable[[], bytes]) -> bytes:
    """The content of a secret file, made on first use; callers hold the folder's lock."""
    if not path.exists():
        write_secret(path, make())
    return read_secret(path)


def found_or_made_p256(path: Path, passphrase: bytes | None) -> ec.EllipticCurvePrivateKey:
    """The P-256 key in a file (PKCS #8, PEM), made on first use; callers hold the folder's lock.

    With a passphrase, a key that lies there in clear is encrypted in its place.

    Raises:
        LocalSigstoreError: The file is readable by others or holds no P-256 key.
        PassphraseError: The passphrase is wrong or missing.
    """
    key = _found_or_made_key(path, lambda: ec.generate_private_key(ec.SECP256R1()), passphrase)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise LocalSigstoreError(f"{path}: expected a P-256 key, got {type(key).__name__}")
    return key


def found_or_made_ed25519(path: Path, passphrase: bytes | None) -> ed25519.Ed25519PrivateKey:
    """The Ed25519 key in a file; everything else as in `found_or_made_p256`."""
    key = _found_or_made_key(path, ed25519.Ed25519PrivateKey.generate, passphrase)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise LocalSigstoreError(f"{path}: expected an Ed25519 key, got {type(key).__name__}")
    return key


def found_or_made_token(path: Path) -> str:
    """The secret word in a file, 256 random bits in base64url, made on first use."""
    return found_or_made(path, lambda: secrets.token_urlsafe(32).encode()).decode()


def spki(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey) -> bytes:
    """The SubjectPublicKeyInfo of a key's public half, in DER."""
    return key.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def raw_ed25519(key: ed25519.Ed25519PublicKey) -> bytes:
    """The 32 bytes of an Ed25519 public key."""
    return key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def sign_ecdsa(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """The ECDSA signature (DER) over the SHA-256 of the data."""
    return key.sign(data, ec.ECDSA(hashes.SHA256()))


def _found_or_made_key(
    path: Path, generate: Callable[[], PrivateKeyTypes], passphrase: bytes | None
) -> PrivateKeyTypes:
    data = found_or_made(path, lambda: key_pem(generate(), passphrase))
    key = open_key(path, data, passphrase)
    if passphrase is not None and not is_encrypted(data):
        write_secret(path, key_pem(key, passphrase))
    return key
