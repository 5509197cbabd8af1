"""The ingress key: made in memory at every boot, never stored, bound by every quote.

The certificate only carries the key. Nobody signs it but the key itself, and a client looks at
nothing in it but the public half, which it compares with the one that the quote binds.
"""

import datetime as dt
import grp
import os
import sys
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from os_image.guest import runtime

SERVER_NAME = "guest.blindllama.invalid"
"""The name in the certificate: reserved, so that nobody can own it (RFC 6761, section 6.4)."""

_READER = "caddy"
# The guest's clock is the host's to set, so the certificate does not depend on it: it outlasts the
# machine and dies with its memory. The last instant means "no end" (RFC 5280, section 4.1.2.5).
_NOT_BEFORE = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
_NOT_AFTER = dt.datetime(9999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """A fresh key pair and the certificate that carries it."""

    key_pem: bytes
    certificate_pem: bytes
    spki: bytes
    """DER SubjectPublicKeyInfo."""

    def __repr__(self) -> str:
        return "Identity(…)"


def make_identity() -> Identity:
    """A new ECDSA P-256 key with a self-signed certificate for `SERVER_NAME`."""
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, SERVER_NAME)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_NOT_BEFORE)
        .not_valid_after(_NOT_AFTER)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(SERVER_NAME)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Identity(
        key_pem=key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
        certificate_pem=certificate.public_bytes(serialization.Encoding.PEM),
        spki=public.public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def write_identity(
    identity: Identity, *, key: Path, certificate: Path, spki: Path, group: int
) -> None:
    """Writes the three files; the key can be read by root and `group` (a group id) only."""
    handle = os.open(key, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
    with os.fdopen(handle, "wb") as stream:
        stream.write(identity.key_pem)
        os.fchown(stream.fileno(), -1, group)
        os.fchmod(stream.fileno(), 0o440)
    certificate.write_bytes(identity.certificate_pem)
    spki.write_bytes(identity.spki)


def main() -> int:
    """Makes the key of this boot; fails when there is one already."""
    os.umask(0o022)
    try:
        write_identity(
            make_identity(),
            key=runtime.KEY,
            certificate=runtime.CERTIFICATE,
            spki=runtime.SPKI,
            group=grp.getgrnam(_READER).gr_gid,
        )
    except (OSError, KeyError) as error:
        print(f"ingress key: {error}", file=sys.stderr)  # noqa: T201 - the journal reads it
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
