"""The three keys of Secure Boot: the platform's owner, who may change the list, and the list.

Source: UEFI 2.10, 32.3 Firmware/OS Key Exchange: Creating Trust Relationships.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID

from supply_chain.errors import BuildError
from supply_chain.private_key import is_encrypted, key_pem, open_key
from supply_chain.workspace import fresh_dir

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

KEY_BITS = 2048
"""What OVMF and Azure take; UEFI demands no other size."""
_SIGNING_KEY = "db.key"
_YEARS = 20
"""Firmware does not look at the time: it may have no clock."""


class SecureBootError(BuildError):
    """The keys of Secure Boot are missing or are not what they must be."""

    code = "os_image.secure_boot"


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificates:
    """What a machine gets to know of the keys: three certificates, DER."""

    pk: bytes
    """Whose machine it is; once it is there, the firmware starts only what is signed."""
    kek: bytes
    """Whose signature changes the list."""
    db: bytes
    """The list: whose programs start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """The key whose certificate is on the list."""

    key: PrivateKeyTypes
    certificate: bytes
    """DER."""

    def __repr__(self) -> str:
        return "SigningKey(…)"


def create_keys(folder: Path, *, passphrase: bytes | None, now: dt.datetime) -> Certificates:
    """Three new keys in a new folder, each with a certificate that it signed itself.

    Args:
        folder: Holds them from now on; `PK.key` and `PK.der`, likewise `KEK` and `db`.
        passphrase: Encrypts the private keys; without one they are only readable by this user.
        now: The time from which the certificates are valid.

    Raises:
        SecureBootError: The folder is there. New keys need a new enrolment of every machine.
    """
    if folder.exists():
        raise SecureBootError(f"{folder} holds keys already; move it away to make new ones")
    with fresh_dir(folder) as fresh:
        fresh.chmod(0o700)
        for name in ("PK", "KEK", "db"):
            key = rsa.generate_private_key(public_exponent=65537, key_size=KEY_BITS)
            private = fresh / f"{name}.key"
            private.touch(mode=0o600)
            private.write_bytes(key_pem(key, passphrase))
            (fresh / f"{name}.der").write_bytes(_certificate(key, name, now))
    return read_certificates(folder)


def read_certificates(folder: Path) -> Certificates:
    """The certificates in a folder that `create_keys` made.

    Raises:
        SecureBootError: One is missing or is no certificate.
    """
    return Certificates(
        pk=_read(folder / "PK.der"), kek=_read(folder / "KEK.der"), db=_read(folder / "db.der")
    )


def read_signing_key(folder: Path, *, passphrase: bytes | None) -> SigningKey:
    """The key that signs images.

    Raises:
        PassphraseError: The passphrase is wrong or missing.
        SecureBootError: There is no key, or its certificate is of another one.
    """
    path = folder / _SIGNING_KEY
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise SecureBootError(f"{path} cannot be read: {exc.strerror}") from exc
    found = SigningKey(key=open_key(path, data, passphrase), certificate=_read(folder / "db.der"))
    named = x509.load_der_x509_certificate(found.certificate).public_key()
    if found.key.public_key() != named:
        raise SecureBootError(f"{path}: expected the key of db.der, got another")
    return found


def is_signing_key_encrypted(folder: Path) -> bool:
    """Whether the key that signs images takes a passphrase; False when there is none."""
    path = folder / _SIGNING_KEY
    return path.exists() and is_encrypted(path.read_bytes())


def _read(path: Path) -> bytes:
    try:
        data = path.read_bytes()
        x509.load_der_x509_certificate(data)
    except OSError as exc:
        raise SecureBootError(
            f"{path} cannot be read: {exc.strerror}; make keys: invoke secure-boot.keys"
        ) from exc
    except ValueError as exc:
        raise SecureBootError(f"{path}: expected a certificate in DER, got {exc}") from exc
    return data


def _certificate(key: rsa.RSAPrivateKey, name: str, now: dt.datetime) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"BlindLlama {name}")])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + dt.timedelta(days=365 * _YEARS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )
