"""A certificate authority for attestation keys that makes what a test asks for, honest or not."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID, ObjectIdentifier

from blindllama._platform.base import SIMULATION_ORGANISATION

AIK = ObjectIdentifier("2.23.133.8.3")
FROM = datetime(2026, 1, 1, tzinfo=UTC)
UNTIL = datetime(2036, 1, 1, tzinfo=UTC)
NOW = datetime(2026, 12, 1, tzinfo=UTC)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key for a CA: the curve is quick to make, and RSA is tested by the leaves."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a certificate says; every field may be made wrong."""

    common_name: str
    organisation: str | None = SIMULATION_ORGANISATION
    ca: bool | None = None
    """None leaves basicConstraints out."""
    path_length: int | None = None
    digital_signature: bool = False
    cert_sign: bool = False
    key_usage: bool = True
    purposes: tuple[ObjectIdentifier, ...] = ()
    begin: datetime = FROM
    end: datetime = UNTIL
    extra: tuple[tuple[x509.ExtensionType, bool], ...] = ()


ROOT = Profile(common_name="root", ca=True, path_length=3, cert_sign=True)
INTERMEDIATE = Profile(common_name="intermediate", ca=True, path_length=0, cert_sign=True)
LEAF = Profile(common_name="attestation key", digital_signature=True, purposes=(AIK,))


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    def certify(self, public_key: PublicKey, profile: Profile = LEAF) -> bytes:
        """A certificate for that key, DER."""
        return _certificate(profile, public_key, self.certificate.subject, self.key).public_bytes(
            Encoding.DER
        )

    def issue(self, profile: Profile = INTERMEDIATE) -> Issuer:
        """Another issuer below this one."""
        key = new_key()
        certificate = _certificate(profile, key.public_key(), self.certificate.subject, self.key)
        return Issuer(certificate=certificate, key=key)


def new_root(profile: Profile = ROOT) -> Issuer:
    """A root that signs itself."""
    key = new_key()
    name = _name(profile)
    return Issuer(certificate=_certificate(profile, key.public_key(), name, key), key=key)


def _name(profile: Profile) -> x509.Name:
    names = [x509.NameAttribute(NameOID.COMMON_NAME, profile.common_name)]
    if profile.organisation is not None:
        names.append(x509.NameAttribute(NameOID.ORGANIZATION_NAME, profile.organisation))
    return x509.Name(names)


def _certificate(
    profile: Profile, public_key: PublicKey, issuer: x509.Name, key: PrivateKey
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(profile))
        .issuer_name(issuer)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(profile.begin)
        .not_valid_after(profile.end)
    )
    if profile.ca is not None:
        constraints = x509.BasicConstraints(ca=profile.ca, path_length=profile.path_length)
        builder = builder.add_extension(constraints, critical=True)
    if profile.key_usage:
        builder = builder.add_extension(_key_usage(profile), critical=True)
    if profile.purposes:
        builder = builder.add_extension(x509.ExtendedKeyUsage(profile.purposes), critical=False)
    for extension, critical in profile.extra:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, hashes.SHA256())


def _key_usage(profile: Profile) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=profile.digital_signature,
        key_cert_sign=profile.cert_sign,
        crl_sign=profile.cert_sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
