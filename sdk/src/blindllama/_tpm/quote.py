"""Step 8: a TPM quote, from claimed bytes to a `VerifiedQuote`.

The order matters. First the signature, over exactly the bytes that came: nothing that the key did
not sign is interpreted. Then magic and type, since the same key also signs other statements and,
when asked nicely, any blob that does not begin with TPM_GENERATED (ATTACKS, Q2). Then the kind of
key, where the platform knows it, freshness, the signed selection, and last the digest over the
claimed values. Only the selection inside the
signed structure says which registers were quoted (Q1).

Source: TCG TPM 2.0 Library, Part 1, section 31 (attestation); Part 3, section 18.4 (TPM2_Quote).
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from blindllama._tpm.nonce_tree import NoncePath, nonce_tree_root
from blindllama._tpm.structures import (
    ATTEST_QUOTE,
    TPM_GENERATED,
    ClockInfo,
    EcdsaSignature,
    HashAlgorithm,
    PcrSelection,
    QuoteBody,
    RsaSignature,
    SignatureScheme,
    parse_attest,
    parse_quote_body,
    parse_signature,
)
from blindllama.errors import Code, FreshnessError, QuoteError, UsageError
from blindllama.pcr import PCR_COUNT, PcrBank

__all__ = [
    "CURVES",
    "LARGEST_RSA_BITS",
    "SMALLEST_RSA_BITS",
    "AkPublicKey",
    "ExpectedQuote",
    "VerifiedQuote",
    "check_pcr_digest",
    "check_signature",
    "parse_genuine_quote",
    "qualifying_data",
    "verify_quote",
]

AkPublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey
"""The kinds of key that an attestation key can be."""

_STEP = 8

_LABEL: Final = b"blindllama/quote/v1\x00"
_QUALIFYING_DATA_BYTES: Final = 32

_SIZE_OF_SELECT: Final = 3
"""Octets of a PC client's PCR bitmap: 24 registers (PC Client Platform TPM Profile, 4.6)."""

SMALLEST_RSA_BITS: Final = 2048
LARGEST_RSA_BITS: Final = 4096
"""TPMs make no larger keys, and verification time grows with the size."""

CURVES: Final = ("secp256r1", "secp384r1")

_HASHES: Final[Mapping[int, type[hashes.HashAlgorithm]]] = MappingProxyType(
    {HashAlgorithm.SHA256: hashes.SHA256, HashAlgorithm.SHA384: hashes.SHA384}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedQuote:
    """What a quote must say to be accepted; it cannot be made so that it accepts any quote."""

    qualifying_data: bytes
    """Exactly 32 bytes: a shorter value could be a prefix, an empty one demands no freshness."""
    selection: frozenset[int]
    """The registers of the SHA-256 bank that must be quoted: these and no others."""
    schemes: frozenset[tuple[SignatureScheme, HashAlgorithm]]
    """The schemes that the platform's attestation keys have."""
    signers: frozenset[bytes] | None = None
    """Qualified names, 34 bytes each, that the key may have; None where the platform has no
    template for its keys, and any name will do."""

    def __post_init__(self) -> None:
        """Refuse an expectation that is empty or impossible."""
        if len(self.qualifying_data) != _QUALIFYING_DATA_BYTES:
            raise UsageError(
                "expected qualifying data; "
                f"expected {_QUALIFYING_DATA_BYTES} bytes; got {len(self.qualifying_data)}"
            )
        if not self.selection or not self.selection <= frozenset(range(PCR_COUNT)):
            raise UsageError(
                f"expected PCR selection; expected indices below {PCR_COUNT}; "
                f"got {sorted(self.selection)}"
            )
        if not self.schemes:
            raise UsageError("signature schemes; expected at least one; got none")
        if self.signers is not None and not self.signers:
            raise UsageError("qualified names of the key; expected at least one; got none")


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedQuote:
    """What the TPM signed for us; only `verify_quote` makes it."""

    values: Mapping[int, bytes]
    """The quoted registers, 32 bytes each."""
    qualifying_data: bytes
    clock: ClockInfo
    firmware_version: int
    qualified_signer: bytes


def qualifying_data(*, spki: bytes, nonce: bytes, path: NoncePath) -> bytes:
    """Return the 32 bytes that bind a quote to a TLS key and to a caller's nonce.

    SHA-256(label ‖ SHA-256(SPKI) ‖ root of the nonce tree), where the label ends in a zero byte
    and keeps the hash apart from every other use of the key.

    Raises:
        FreshnessError: `quote.nonce_path`.
        UsageError: the nonce is not 32 bytes long.
    """
    root = nonce_tree_root(nonce, path)
    return hashlib.sha256(_LABEL + hashlib.sha256(spki).digest() + root).digest()


def verify_quote(
    *,
    attest: bytes,
    signature: bytes,
    key: AkPublicKey,
    claimed: Mapping[int, bytes],
    expected: ExpectedQuote,
) -> VerifiedQuote:
    """Return what a genuine, fresh quote over exactly the expected registers says.

    Args:
        attest: TPMS_ATTEST, the bytes that were signed.
        signature: TPMT_SIGNATURE.
        key: The attestation key, already verified.
        claimed: Register values, unsigned; the signed digest vouches for them or not.
        expected: What the caller demands.

    Raises:
        QuoteError: `quote.scheme`, `quote.signature`, `quote.magic`, `quote.type`,
            `quote.signer`, `quote.selection` or `quote.pcr_digest`.
        FreshnessError: `quote.nonce_mismatch`.
        FormatError: `quote.malformed` or `quote.trailing_bytes`.
    """
    hash_algorithm = check_signature(attest, signature, key, schemes=expected.schemes)
    body = parse_genuine_quote(attest)
    if expected.signers is not None and body.qualified_signer not in expected.signers:
        raise QuoteError(
            "qualified name of the key that signed the quote",
            code=Code.QUOTE_SIGNER,
            step=_STEP,
            expected=" or ".join(sorted(name.hex() for name in expected.signers)),
            got=body.qualified_signer.hex() or "nothing",
        )
    if not hmac.compare_digest(body.extra_data, expected.qualifying_data):
        raise FreshnessError(
            "qualifying data of the quote: not made for this nonce and this TLS key",
            code=Code.QUOTE_NONCE,
            step=_STEP,
            expected=expected.qualifying_data.hex(),
            got=body.extra_data.hex() or "nothing",
        )
    _check_selection(body.selections, expected.selection)
    check_pcr_digest(body.pcr_digest, expected.selection, claimed, hash_algorithm)
    return VerifiedQuote(
        values=MappingProxyType({index: claimed[index] for index in sorted(expected.selection)}),
        qualifying_data=body.extra_data,
        clock=body.clock,
        firmware_version=body.firmware_version,
        qualified_signer=body.qualified_signer,
    )


def check_signature(
    attest: bytes,
    signature: bytes,
    key: AkPublicKey,
    *,
    schemes: frozenset[tuple[SignatureScheme, HashAlgorithm]],
) -> HashAlgorithm:
    """Return the signature's hash after checking it over the exact bytes of `attest`.

    Raises:
        QuoteError: `quote.scheme` when key, scheme and hash do not belong together or are not
            allowed; `quote.signature`.
        FormatError: `quote.malformed` or `quote.trailing_bytes`.
    """
    parsed = parse_signature(signature)
    scheme = (parsed.scheme, parsed.hash_algorithm)
    make_hash = _HASHES.get(parsed.hash_algorithm)
    if make_hash is None or scheme not in schemes:
        names = sorted(f"{allowed.name} with {hashed.name}" for allowed, hashed in schemes)
        raise _wrong_scheme(
            " or ".join(names), f"{parsed.scheme.name} with hash 0x{parsed.hash_algorithm:04x}"
        )
    try:
        _verify(parsed, key, attest, make_hash())
    except InvalidSignature as exc:
        raise QuoteError(
            "signature of the quote: not made by the attestation key over these bytes",
            code=Code.QUOTE_SIGNATURE,
            step=_STEP,
        ) from exc
    return HashAlgorithm(parsed.hash_algorithm)


def parse_genuine_quote(attest: bytes) -> QuoteBody:
    """Return the fields of a statement that is a quote and that a TPM made itself.

    Raises:
        QuoteError: `quote.magic` or `quote.type`.
        FormatError: `quote.malformed` or `quote.trailing_bytes`.
    """
    parsed = parse_attest(attest)
    if parsed.magic != TPM_GENERATED:
        raise QuoteError(
            "magic of the quote: the key signed it, but the TPM did not make it",
            code=Code.QUOTE_MAGIC,
            step=_STEP,
            expected=f"0x{TPM_GENERATED:08x}",
            got=f"0x{parsed.magic:08x}",
        )
    if parsed.type != ATTEST_QUOTE:
        raise QuoteError(
            "type of the attestation",
            code=Code.QUOTE_TYPE,
            step=_STEP,
            expected=f"a quote, 0x{ATTEST_QUOTE:04x}",
            got=f"0x{parsed.type:04x}",
        )
    return parse_quote_body(parsed.body)


def check_pcr_digest(
    quoted: bytes,
    selection: frozenset[int],
    claimed: Mapping[int, bytes],
    hash_algorithm: HashAlgorithm,
) -> None:
    """Check that the claimed values are the ones that were quoted.

    The digest is over the values in ascending order of their index, by the hash of the signature
    scheme (Part 3, TPM2_Quote).

    Raises:
        QuoteError: `quote.pcr_digest`.
    """
    running = hashlib.new(hash_algorithm.name.lower())
    for index in sorted(selection):
        value = claimed.get(index, b"")
        if len(value) != PcrBank.SHA256.size_bytes:
            raise _wrong_digest("claimed registers", f"32 bytes for PCR {index}", len(value))
        running.update(value)
    if not hmac.compare_digest(running.digest(), quoted):
        raise _wrong_digest(
            "digest over the claimed registers", f"{quoted.hex()}, quoted", running.hexdigest()
        )


def _check_selection(selections: tuple[PcrSelection, ...], expected: frozenset[int]) -> None:
    shown = "; ".join(
        f"bank 0x{one.bank:04x}, {len(one.bitmap)} octets: {list(one.indices)}"
        for one in selections
    )
    if (
        len(selections) != 1
        or selections[0].bank != HashAlgorithm.SHA256
        or len(selections[0].bitmap) != _SIZE_OF_SELECT
        or frozenset(selections[0].indices) != expected
    ):
        raise QuoteError(
            "signed PCR selection",
            code=Code.QUOTE_SELECTION,
            step=_STEP,
            expected=f"bank 0x{HashAlgorithm.SHA256:04x}, 3 octets: {sorted(expected)}",
            got=shown or "no bank",
        )


def _verify(
    signature: RsaSignature | EcdsaSignature,
    key: AkPublicKey,
    data: bytes,
    algorithm: hashes.HashAlgorithm,
) -> None:
    if isinstance(signature, EcdsaSignature):
        if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in CURVES:
            raise _wrong_scheme(f"an ECDSA key on {' or '.join(CURVES)}", _key_text(key))
        der = encode_dss_signature(signature.r, signature.s)
        key.verify(der, data, ec.ECDSA(algorithm))
        return
    if (
        not isinstance(key, rsa.RSAPublicKey)
        or not SMALLEST_RSA_BITS <= key.key_size <= LARGEST_RSA_BITS
        or len(signature.value) != key.key_size // 8
    ):
        raise _wrong_scheme(
            f"an RSA key of {SMALLEST_RSA_BITS} to {LARGEST_RSA_BITS} bits, signature as long",
            f"{_key_text(key)}, signature of {len(signature.value)} bytes",
        )
    # TPMs take the hash's length or the largest salt that fits, depending on their age.
    pss = padding.PSS(padding.MGF1(algorithm), padding.PSS.AUTO)
    scheme = padding.PKCS1v15() if signature.scheme is SignatureScheme.RSASSA else pss
    key.verify(signature.value, data, scheme, algorithm)


def _key_text(key: AkPublicKey) -> str:
    if isinstance(key, rsa.RSAPublicKey):
        return f"an RSA key of {key.key_size} bits"
    return f"an ECDSA key on {key.curve.name}"


def _wrong_scheme(expected: object, got: object) -> QuoteError:
    return QuoteError(
        "signature scheme of the quote",
        code=Code.QUOTE_SCHEME,
        step=_STEP,
        expected=expected,
        got=got,
    )


def _wrong_digest(what: str, expected: object, got: object) -> QuoteError:
    return QuoteError(what, code=Code.QUOTE_PCR_DIGEST, step=_STEP, expected=expected, got=got)
