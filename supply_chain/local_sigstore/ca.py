"""The certificate authority: ten-minute signing certificates for identities, as Fulcio gives them.

Source: Fulcio's "OID information" and "certificate specification"; Fulcio API v2, signingCert.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from asn1crypto import core
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from supply_chain.certificate import ISSUER, ISSUER_V1
from supply_chain.local_sigstore.ct import SCT_LIST
from supply_chain.local_sigstore.exchange import (
    RefusedError,
    Request,
    Response,
    json_response,
    text_field,
)
from supply_chain.local_sigstore.oidc import is_email
from supply_chain.workspace import EPOCH

if TYPE_CHECKING:
    from collections.abc import Callable

    from supply_chain.local_sigstore.ct import TransparencyLog
    from supply_chain.local_sigstore.oidc import Claims, IdentityProvider

VALID_FROM = datetime.fromtimestamp(EPOCH, UTC)
"""Since when the authorities are valid: fixed, so that nothing depends on the first start."""
VALID_TO = datetime(2046, 1, 1, tzinfo=UTC)
LEAF_MARGIN = timedelta(minutes=5)
"""How long before and after its issue a signing certificate is valid."""
ORGANIZATION = "BlindLlama local Sigstore (one machine only)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Authority:
    """A key with the certificates from its own up to the root."""

    key: ec.EllipticCurvePrivateKey
    chain: tuple[x509.Certificate, ...]

    @property
    def certificate(self) -> x509.Certificate:
        """The certificate of the key."""
        return self.chain[0]


def root_certificate(key: ec.EllipticCurvePrivateKey, common_name: str) -> x509.Certificate:
    """A new self-signed root for one intermediate at most."""
    name = _name(common_name)
    builder = _authority_builder(name, name, key.public_key(), path_length=1)
    return builder.sign(key, hashes.SHA256())


def intermediate_certificate(
    key: ec.EllipticCurvePublicKey, common_name: str, root: Authority
) -> x509.Certificate:
    """A new authority under the root that may certify code signing keys and nothing else."""
    builder = _authority_builder(
        _name(common_name), root.certificate.subject, key, path_length=0
    ).add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False)
    return _with_authority_key(builder, root).sign(root.key, hashes.SHA256())


def timestamping_certificate(
    key: ec.EllipticCurvePublicKey, common_name: str, root: Authority
) -> x509.Certificate:
    """A new end-entity certificate under the root for a time stamp authority.

    Source: RFC 3161, section 2.3 (the one extended key usage, and it is critical).
    """
    builder = (
        _builder(_name(common_name), root.certificate.subject, key)
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_TO)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signature=True), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.TIME_STAMPING]), critical=True)
    )
    return _with_authority_key(builder, root).sign(root.key, hashes.SHA256())


class SigningCertificates:
    """The service that turns an identity token and a public key into a certificate."""

    def __init__(
        self,
        authority: Authority,
        transparency: TransparencyLog,
        provider: IdentityProvider,
        clock: Callable[[], datetime],
    ) -> None:
        """Issue under the authority, record in the transparency log, believe the provider."""
        self._authority = authority
        self._transparency = transparency
        self._provider = provider
        self._clock = clock

    def issue(self, request: Request) -> Response:
        """Answer `POST /api/v2/signingCert` with the new certificate and its chain.

        Raises:
            RefusedError: No good token, no good key, or no proof that the caller holds it.
        """
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer":
            raise RefusedError(401, "authorization: expected Bearer and an identity token")
        claims = self._provider.verify(token)
        certificate = self.certify(_requested_key(request, claims), claims)
        chain = [_pem(item) for item in (certificate, *self._authority.chain)]
        return json_response({"signedCertificateEmbeddedSct": {"chain": {"certificates": chain}}})

    def trust_bundle(self, _request: Request) -> Response:
        """Answer `GET /api/v2/trustBundle` with the chain of the authority."""
        chain = [_pem(item) for item in self._authority.chain]
        return json_response({"chains": [{"certificates": chain}]})

    def certify(self, key: ec.EllipticCurvePublicKey, claims: Claims) -> x509.Certificate:
        """A new signing certificate with its SCT inside."""
        now = self._clock().replace(microsecond=0)
        email = is_email(claims.identity)
        name: x509.GeneralName = (
            x509.RFC822Name(claims.identity)
            if email
            else x509.UniformResourceIdentifier(claims.identity)
        )
        builder = (
            _builder(x509.Name([]), self._authority.certificate.subject, key)
            .not_valid_before(now - LEAF_MARGIN)
            .not_valid_after(now + LEAF_MARGIN)
            .add_extension(_key_usage(signature=True), critical=True)
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), critical=False
            )
            # The subject is empty, so the name that counts is critical (RFC 5280, 4.2.1.6).
            .add_extension(x509.SubjectAlternativeName([name]), critical=True)
            .add_extension(
                x509.UnrecognizedExtension(ISSUER_V1, claims.issuer.encode()), critical=False
            )
        )
        for oid, text in {ISSUER: claims.issuer, **claims.extensions}.items():
            builder = builder.add_extension(
                x509.UnrecognizedExtension(oid, core.UTF8String(text).dump()), critical=False
            )
        builder = _with_authority_key(builder, self._authority)
        # The log promises a certificate without the promise in it: sign once to learn its body.
        body = builder.sign(self._authority.key, hashes.SHA256()).tbs_certificate_bytes
        promise = self._transparency.sct_list(body, self._authority.certificate)
        return builder.add_extension(
            x509.UnrecognizedExtension(SCT_LIST, promise), critical=False
        ).sign(self._authority.key, hashes.SHA256())


def _requested_key(request: Request, claims: Claims) -> ec.EllipticCurvePublicKey:
    """The key to certify, after its holder has shown possession of the private half."""
    document = request.json()
    try:
        if "certificateSigningRequest" in document:
            pem = base64.b64decode(text_field(document, "certificateSigningRequest"), validate=True)
            csr = x509.load_pem_x509_csr(pem)
            if not csr.is_signature_valid:
                raise RefusedError(400, "certificate signing request: wrong signature")
            return _p256(csr.public_key())
        pem = text_field(document, "publicKeyRequest", "publicKey", "content").encode()
        key = _p256(serialization.load_pem_public_key(pem))
        proof = text_field(document, "publicKeyRequest", "proofOfPossession")
        key.verify(
            base64.b64decode(proof, validate=True),
            claims.subject.encode(),
            ec.ECDSA(hashes.SHA256()),
        )
    except InvalidSignature as exc:
        raise RefusedError(400, "proof of possession: wrong signature") from exc
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm) as exc:
        raise RefusedError(400, f"public key: {exc}") from exc
    return key


def _p256(key: object) -> ec.EllipticCurvePublicKey:
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise RefusedError(400, "public key: expected ECDSA on P-256")
    return key


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority_builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, path_length: int
) -> x509.CertificateBuilder:
    return (
        _builder(subject, issuer, key)
        .not_valid_before(VALID_FROM)
        .not_valid_after(VALID_TO)
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_key_usage(certificates=True), critical=True)
    )


def _with_authority_key(
    builder: x509.CertificateBuilder, authority: Authority
) -> x509.CertificateBuilder:
    return builder.add_extension(
        x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()),
        critical=False,
    )


def _key_usage(*, signature: bool = False, certificates: bool = False) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=signature,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
