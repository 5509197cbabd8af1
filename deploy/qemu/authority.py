"""The certificate authority of simulated TPMs: a root and an intermediate, made on this machine.

Its subject says that it is a simulation, so that no policy for a real platform can hold it by
mistake without the name being read.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID, ObjectIdentifier

from supply_chain.errors import BootError
from supply_chain.workspace import fresh_dir

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from typing import Self

ORGANIZATION = "BlindLlama simulated vTPM (never a production root)"
"""Subject organisation of every certificate that this authority makes."""

AIK_USAGE = ObjectIdentifier("2.23.133.8.3")
"""tcg-kp-AIKCertificate: the key signs what its TPM attests."""

_KEY_BITS = 2048
_CA_DAYS = 3650
_AK_DAYS = 1825
_ROOT_CERTIFICATE = "root.der"
_INTERMEDIATE_CERTIFICATE = "intermediate.der"
_INTERMEDIATE_KEY = "intermediate.key"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A certificate authority that can certify attestation keys."""

    root_der: bytes
    """The root's certificate; its key was thrown away after it had signed the intermediate."""
    intermediate_der: bytes
    """The intermediate's certificate."""
    intermediate_key: rsa.RSAPrivateKey
    """The key that signs attestation keys' certificates."""

    def __repr__(self) -> str:
        """The name, without the key."""
        return f"Authority({ORGANIZATION!r})"

    @classmethod
    def load_or_create(cls, home: Path, *, now: datetime) -> Self:
        """The authority that is kept in a directory; made at the first call.

        Args:
            home: A directory of its own; its key file is readable by its owner alone.
            now: The time from which new certificates are valid.

        Raises:
            BootError: Its key is not there or not what was written.
        """
        if not home.exists():
            with fresh_dir(home) as fresh:
                _create(fresh, now)
        pem = home / _INTERMEDIATE_KEY
        try:
            key = serialization.load_pem_private_key(pem.read_bytes(), password=None)
        except (ValueError, TypeError, FileNotFoundError):
            key = None
        if not isinstance(key, rsa.RSAPrivateKey):
            raise BootError(
                f"{pem}: expected an RSA key; delete {home} to get a new simulated TPM, "
                "and with the next release a policy that names its root"
            )
        return cls(
            root_der=(home / _ROOT_CERTIFICATE).read_bytes(),
            intermediate_der=(home / _INTERMEDIATE_CERTIFICATE).read_bytes(),
            intermediate_key=key,
        )

    def issue_ak_certificate(self, key: rsa.RSAPublicKey, *, now: datetime) -> bytes:
        """A certificate (DER) that says that this key is an attestation key of a TPM.

        Args:
            key: The attestation key.
            now: The time from which it is valid.
        """
        issuer = x509.load_der_x509_certificate(self.intermediate_der)
        usage = x509.ExtendedKeyUsage([AIK_USAGE])
        certificate = (
            _builder("attestation key", issuer.subject, key, now, _AK_DAYS)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(ca=False), critical=True)
            .add_extension(usage, critical=False)
            .add_extension(
                _authority_identifier(self.intermediate_key.public_key()), critical=False
            )
            .sign(self.intermediate_key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.DER)


def _create(home: Path, now: datetime) -> None:
    root_key, key = (
        rsa.generate_private_key(public_exponent=65537, key_size=_KEY_BITS) for _ in range(2)
    )
    root = _ca("root", _name("root"), root_key.public_key(), root_key, now, path_length=1)
    intermediate = _ca("intermediate", root.subject, key.public_key(), root_key, now, path_length=0)
    home.chmod(0o700)
    for name, certificate in ((_ROOT_CERTIFICATE, root), (_INTERMEDIATE_CERTIFICATE, intermediate)):
        (home / name).write_bytes(certificate.public_bytes(serialization.Encoding.DER))
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(home / _INTERMEDIATE_KEY, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)


def _ca(
    role: str,
    issuer: x509.Name,
    key: rsa.RSAPublicKey,
    signer: rsa.RSAPrivateKey,
    now: datetime,
    *,
    path_length: int,
) -> x509.Certificate:
    return (
        _builder(role, issuer, key, now, _CA_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(ca=True), critical=True)
        .add_extension(_authority_identifier(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _builder(
    role: str, issuer: x509.Name, key: rsa.RSAPublicKey, now: datetime, days: int
) -> x509.CertificateBuilder:
    # Valid from an hour ago: a client's clock may be a little behind this machine's.
    begin = now - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(role))
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _name(role: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, f"simulated vTPM {role}"),
        ]
    )


def _key_usage(*, ca: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca,
        crl_sign=ca,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(key: rsa.RSAPublicKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
