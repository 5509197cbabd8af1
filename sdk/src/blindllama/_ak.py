"""Step 7: the attestation key's certificates, from a claimed leaf up to a pinned root.

The chain is taken as it came: leaf, its issuer, and so on, the root last. Nothing is reordered or
fetched. Where it ends before a root, issuers that the caller brings may continue it; nothing is
trusted because of them. The root may travel with the evidence because it is only ever recognised
by its fingerprint. Each rule is checked here, so that each refusal has its own code, and the
path validation of `cryptography` must come to the same verdict (docs/adr/0003).

Source: RFC 5280, sections 4.2.1 and 6.1; TCG EK Credential Profile 2.5, section 3.2.16 (the key
purposes); TCG, "TPM Keys for Platform Identity", section 8 (tcg-kp-AIKCertificate).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509 import verification
from cryptography.x509.oid import NameOID, ObjectIdentifier

from blindllama._platform.base import SIMULATION_ORGANISATION, Platform
from blindllama._tpm.quote import CURVES, LARGEST_RSA_BITS, SMALLEST_RSA_BITS, AkPublicKey
from blindllama.errors import AttestationKeyError, Code, UsageError

__all__ = ["AIK_PURPOSE", "VerifiedAttestationKey", "verify_attestation_key"]

AIK_PURPOSE: Final = ObjectIdentifier("2.23.133.8.3")
"""tcg-kp-AIKCertificate, the extended key usage of attestation keys."""

_STEP = 7
_MOST_INTERMEDIATES: Final = 3

_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
    CryptographyDeprecationWarning,  # what it will refuse one day, where warnings are errors
)
"""What `cryptography` raises for certificates that it can load but not read."""

_KNOWN_CRITICAL = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.CertificatePolicies.oid,
        x509.SubjectAlternativeName.oid,
    }
)
"""Critical extensions that a certificate here may have: those that are checked, and the two that
only inform about the holder."""

_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedAttestationKey:
    """A key that the platform's root vouches for; only `verify_attestation_key` makes it."""

    public_key: AkPublicKey
    subject: str
    """Subject of the leaf, RFC 4514."""
    serial_number: int
    root_fingerprint: bytes
    """SHA-256 of the root's DER."""
    issuers_known: int
    """How many issuers of its chain the caller has brought."""
    not_after: datetime
    """When the first certificate of the chain expires."""


def verify_attestation_key(
    leaf: bytes,
    issuers: Sequence[bytes],
    *,
    platform: Platform,
    roots: frozenset[bytes],
    now: datetime,
    known: Sequence[bytes] = (),
) -> VerifiedAttestationKey:
    """Return the attestation key after checking its certificates at the given time.

    Args:
        leaf: DER of the key's certificate, nothing after it.
        issuers: DER of its issuer, that one's issuer, and so on; the root comes last.
        platform: The caller's platform.
        roots: SHA-256 fingerprints of the roots that the caller accepts.
        now: The time of the check, with a time zone.
        known: DER of issuers that the caller knows, in any order, for a chain that ends early.

    Raises:
        AttestationKeyError: with code `ak.*`.
        UsageError: no root is given, or the time has no time zone.
    """
    if not roots:
        raise UsageError("roots of attestation keys; expected at least one; got none")
    if now.tzinfo is None:
        raise UsageError("time of the check; expected a time zone; got none")
    if len(issuers) > _MOST_INTERMEDIATES + 1:
        raise _wrong_length(len(issuers))
    chain = tuple(_load(der) for der in (leaf, *issuers))
    try:
        chain = _continued(chain, known)
        if len(chain) == 1:
            raise _wrong_length(0)
        _check_root(chain[-1], platform, roots)
        refusal = _path_refusal(chain, now)
        for depth in range(len(chain) - 1, 0, -1):
            _check_issuer(chain[depth], intermediates_below=depth - 1)
            if refusal is not None:  # else the library has found the signatures of this chain good
                _check_issued(chain[depth - 1], chain[depth])
        for certificate in chain:
            _check_validity(certificate, now)
        key = _check_leaf(chain[0])
        platform.check_leaf(chain[0])
        if refusal is not None:
            raise refusal
        return VerifiedAttestationKey(
            public_key=key,
            subject=chain[0].subject.rfc4514_string(),
            serial_number=chain[0].serial_number,
            root_fingerprint=_fingerprint(chain[-1]),
            issuers_known=len(chain) - 1 - len(issuers),
            not_after=min(certificate.not_valid_after_utc for certificate in chain),
        )
    except _UNREADABLE as exc:
        raise _refusal("certificates of the attestation key", Code.AK_MALFORMED) from exc


def _wrong_length(issuers: int) -> AttestationKeyError:
    return _refusal(
        "length of the attestation key's chain",
        Code.AK_CHAIN_LENGTH,
        f"the root and at most {_MOST_INTERMEDIATES} intermediates",
        f"{issuers} issuers",
    )


def _continued(
    chain: tuple[x509.Certificate, ...], known: Sequence[bytes]
) -> tuple[x509.Certificate, ...]:
    """Return the chain with the caller's issuers behind it, as far as they lead."""
    if not known or _has_issued(chain[-1], chain[-1]):
        return chain
    brought = [_load(der) for der in known]
    while len(chain) <= _MOST_INTERMEDIATES + 1 and not _has_issued(chain[-1], chain[-1]):
        issuer = next((one for one in brought if _has_issued(one, chain[-1])), None)
        if issuer is None:
            break
        chain = (*chain, issuer)
    return chain


def _has_issued(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    """Whether it is the issuer; by its signature, since two may have one name."""
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _load(der: bytes) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # RFC 5280, section 4.1.2.2; and the one field that neither the signature covers nor the
        # library judges: how many bits at the end of the signature itself are unused.
        readable = certificate.serial_number > 0 and der.endswith(b"\0" + certificate.signature)
    except _UNREADABLE as exc:
        raise _unreadable(der) from exc
    if not readable:
        raise _unreadable(der)
    return certificate


def _unreadable(der: bytes) -> AttestationKeyError:
    return _refusal(
        "certificate of the attestation key or of an issuer",
        Code.AK_MALFORMED,
        "one DER certificate and no byte after it",
        f"{len(der)} bytes",
    )


def _check_root(root: x509.Certificate, platform: Platform, roots: frozenset[bytes]) -> None:
    organisations = root.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    simulated = any(name.value == SIMULATION_ORGANISATION for name in organisations)
    if simulated != platform.simulation:
        raise _refusal(
            f"root of the attestation key for {platform.name}",
            Code.AK_SIMULATION_ROOT,
            "a simulation's root" if platform.simulation else "no simulation's root",
            root.subject.rfc4514_string(),
        )
    accepted = roots if platform.roots is None else roots & platform.roots
    if _fingerprint(root) not in accepted:
        raise _refusal(
            "root of the attestation key",
            Code.AK_UNKNOWN_ROOT,
            " or ".join(sorted(fingerprint.hex() for fingerprint in accepted)) or "none",
            _fingerprint(root).hex(),
        )


def _check_issuer(certificate: x509.Certificate, *, intermediates_below: int) -> None:
    """Refuse an issuer that may not issue: an attestation key can sign certificates too (C1)."""
    constraints = _extension(certificate, x509.BasicConstraints)
    usage = _extension(certificate, x509.KeyUsage)
    if constraints is None or not constraints.ca or usage is None or not usage.key_cert_sign:
        raise _refusal(
            "issuer in the attestation key's chain",
            Code.AK_ISSUER_NOT_CA,
            "a CA whose key may sign certificates",
            certificate.subject.rfc4514_string(),
        )
    if constraints.path_length is not None and constraints.path_length < intermediates_below:
        raise _refusal(
            "path length of an issuer in the attestation key's chain",
            Code.AK_CHAIN_LENGTH,
            f"at most {constraints.path_length} intermediates below it",
            intermediates_below,
        )
    _check_critical(certificate)


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate) -> None:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE) as exc:
        raise _refusal(
            "certificate in the attestation key's chain",
            Code.AK_CHAIN,
            f"issued by {issuer.subject.rfc4514_string()}, the next one",
            f"{certificate.subject.rfc4514_string()}, which is not",
        ) from exc


def _check_validity(certificate: x509.Certificate, now: datetime) -> None:
    if now < certificate.not_valid_before_utc:
        raise _refusal(
            f"start of validity of {certificate.subject.rfc4514_string()}",
            Code.AK_NOT_YET_VALID,
            f"not after {now.isoformat()}",
            certificate.not_valid_before_utc.isoformat(),
        )
    if now > certificate.not_valid_after_utc:
        raise _refusal(
            f"end of validity of {certificate.subject.rfc4514_string()}",
            Code.AK_EXPIRED,
            f"not before {now.isoformat()}",
            certificate.not_valid_after_utc.isoformat(),
        )


def _check_leaf(leaf: x509.Certificate) -> AkPublicKey:
    constraints = _extension(leaf, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        raise _refusal("attestation key", Code.AK_IS_CA, "no CA", leaf.subject.rfc4514_string())
    usage = _extension(leaf, x509.KeyUsage)
    purposes = _extension(leaf, x509.ExtendedKeyUsage)
    if usage is None or not usage.digital_signature or usage.key_cert_sign:
        raise _refusal(
            "key usage of the attestation key",
            Code.AK_USAGE,
            "digitalSignature and not keyCertSign",
            "no key usage" if usage is None else repr(usage),
        )
    if purposes is None or AIK_PURPOSE not in purposes:
        raise _refusal(
            "extended key usage of the attestation key",
            Code.AK_USAGE,
            f"{AIK_PURPOSE.dotted_string} (AIK)",
            "none" if purposes is None else ", ".join(oid.dotted_string for oid in purposes),
        )
    _check_critical(leaf)
    key = leaf.public_key()
    if isinstance(key, rsa.RSAPublicKey) and SMALLEST_RSA_BITS <= key.key_size <= LARGEST_RSA_BITS:
        return key
    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in CURVES:
        return key
    raise _refusal(
        "attestation key",
        Code.AK_KEY,
        f"RSA of {SMALLEST_RSA_BITS} to {LARGEST_RSA_BITS} bits, or ECDSA on {' or '.join(CURVES)}",
        _kind(key),
    )


def _kind(key: object) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"RSA of {key.key_size} bits"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"ECDSA on {key.curve.name}"
    return type(key).__name__


def _check_critical(certificate: x509.Certificate) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in _KNOWN_CRITICAL:
            raise _refusal(
                f"critical extension of {certificate.subject.rfc4514_string()}",
                Code.AK_CHAIN,
                "one that is understood",
                extension.oid.dotted_string,
            )


def _path_refusal(chain: tuple[x509.Certificate, ...], now: datetime) -> AttestationKeyError | None:
    """Return why the library's path validation refuses exactly this chain; it must not."""
    permit_all = verification.ExtensionPolicy.permit_all()
    agnostic = verification.Criticality.AGNOSTIC
    ca_policy = permit_all.require_present(x509.BasicConstraints, agnostic, None).require_present(
        x509.KeyUsage, agnostic, None
    )
    leaf_policy = permit_all.require_present(x509.ExtendedKeyUsage, agnostic, None)
    verifier = (
        verification.PolicyBuilder()
        .store(verification.Store([chain[-1]]))
        .time(now)
        .max_chain_depth(_MOST_INTERMEDIATES)
        .extension_policies(ca_policy=ca_policy, ee_policy=leaf_policy)
        .build_client_verifier()
    )
    what = "path validation of the attestation key's chain"
    try:
        found = verifier.verify(chain[0], list(chain[1:-1])).chain
    except (verification.VerificationError, *_UNREADABLE) as exc:
        return _refusal(f"{what}: {exc}", Code.AK_CHAIN)
    # It searches: a chain that it has put together otherwise is not the one that was checked.
    return None if tuple(found) == chain else _refusal(f"{what}: another path", Code.AK_CHAIN)


def _extension(certificate: x509.Certificate, kind: type[_Extension]) -> _Extension | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _fingerprint(certificate: x509.Certificate) -> bytes:
    return hashlib.sha256(certificate.public_bytes(Encoding.DER)).digest()


def _refusal(
    what: str, code: Code, expected: object = None, got: object = None
) -> AttestationKeyError:
    return AttestationKeyError(what, code=code, step=_STEP, expected=expected, got=got)
