"""Private keys in files, encrypted with a passphrase: PKCS #8 in PEM, as openssl reads it too.

The library's own encryption derives the key in 2048 rounds, which a graphics card tries a million
times a second. Here the file is made with the number of rounds that is advised for passphrases of
people; reading one is left to the library.

Source: RFC 8018 (PBES2, PBKDF2), RFC 5958 (EncryptedPrivateKeyInfo).
"""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from asn1crypto import algos, keys, pem
from cryptography.hazmat.primitives import padding, serialization
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from supply_chain.errors import BuildError
from supply_chain.passphrase import VARIABLE

if TYPE_CHECKING:
    from pathlib import Path
    from typing import ClassVar

    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

ROUNDS = 600_000
"""Source: OWASP Password Storage Cheat Sheet, PBKDF2-HMAC-SHA256."""


class PassphraseError(BuildError):
    """A private key cannot be opened with the passphrase, or with none."""

    code: ClassVar[str] = "build.passphrase"


def key_pem(key: PrivateKeyTypes, passphrase: bytes | None) -> bytes:
    """Return the key in PKCS #8, encrypted when there is a passphrase."""
    plain = key.private_bytes(
        serialization.Encoding.DER,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    if passphrase is None:
        return bytes(pem.armor("PRIVATE KEY", plain))
    return bytes(pem.armor("ENCRYPTED PRIVATE KEY", _encrypted(plain, passphrase)))


def is_encrypted(data: bytes) -> bool:
    """Tell whether a key in PEM takes a passphrase."""
    return b"-----BEGIN ENCRYPTED PRIVATE KEY-----" in data


def open_key(path: Path, data: bytes, passphrase: bytes | None) -> PrivateKeyTypes:
    """Return the key in a file's PEM; a passphrase for a key that is not encrypted is not used.

    Args:
        path: Where it was read, for people.
        data: What was read.
        passphrase: What opens it.

    Raises:
        PassphraseError: The passphrase is wrong or missing.
        BuildError: The file holds no private key.
    """
    encrypted = is_encrypted(data)
    if encrypted and passphrase is None:
        raise PassphraseError(f"{path} is encrypted: set {VARIABLE} to its passphrase")
    try:
        return serialization.load_pem_private_key(data, passphrase if encrypted else None)
    except (ValueError, TypeError) as exc:
        if encrypted:
            raise PassphraseError(
                f"{path}: the passphrase in {VARIABLE} does not open this key"
            ) from exc
        raise BuildError(f"{path}: expected a private key in PEM, got {exc}") from exc


def _encrypted(plain: bytes, passphrase: bytes) -> bytes:
    salt, start = secrets.token_bytes(16), secrets.token_bytes(16)
    derived = hashlib.pbkdf2_hmac("sha256", passphrase, salt, ROUNDS)
    padder = padding.PKCS7(algorithms.AES.block_size).padder()
    padded = padder.update(plain) + padder.finalize()
    cipher = Cipher(algorithms.AES(derived), modes.CBC(start)).encryptor()
    scheme = {
        "algorithm": "pbes2",
        "parameters": {
            "key_derivation_func": {
                "algorithm": "pbkdf2",
                "parameters": {
                    "salt": algos.Pbkdf2Salt("specified", salt),
                    "iteration_count": ROUNDS,
                    "prf": {"algorithm": "sha256"},
                },
            },
            "encryption_scheme": {"algorithm": "aes256_cbc", "parameters": start},
        },
    }
    document = {
        "encryption_algorithm": scheme,
        "encrypted_data": cipher.update(padded) + cipher.finalize(),
    }
    return bytes(keys.EncryptedPrivateKeyInfo(document).dump())
