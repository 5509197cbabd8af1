"""TPMS_ATTEST and TPMT_SIGNATURE as frozen values, parsed to their last byte.

Parsing decides nothing: magic and type are returned as they came, because a restricted key signs
any blob that does not start with TPM_GENERATED, and only the verifier may say which of these it is.

Source: TCG TPM 2.0 Library, Part 2, revision 1.59; the section is named at each structure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from blindllama._tpm.reader import Reader

__all__ = [
    "ATTEST_QUOTE",
    "TPM_GENERATED",
    "Attest",
    "ClockInfo",
    "EcdsaSignature",
    "HashAlgorithm",
    "PcrSelection",
    "QuoteBody",
    "RsaSignature",
    "SignatureScheme",
    "parse_attest",
    "parse_quote_body",
    "parse_signature",
]

STEP = 8

TPM_GENERATED: Final = 0xFF544347
"""The magic of what a TPM itself made: 0xFF and "TCG" (Part 2, section 6.2)."""

ATTEST_QUOTE: Final = 0x8018
"""TPM_ST_ATTEST_QUOTE (Part 2, section 6.9)."""

MOST_BANKS: Final = 16
"""HASH_COUNT is implementation-defined; no TPM has more banks than this."""


class HashAlgorithm(IntEnum):
    """TPM_ALG_ID of the hashes that occur in evidence (Part 2, section 6.3)."""

    SHA1 = 0x0004
    SHA256 = 0x000B
    SHA384 = 0x000C
    SHA512 = 0x000D


class SignatureScheme(IntEnum):
    """TPM_ALG_ID of the signature schemes that are understood (Part 2, section 6.3)."""

    RSASSA = 0x0014
    RSAPSS = 0x0016
    ECDSA = 0x0018


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockInfo:
    """TPMS_CLOCK_INFO (Part 2, section 10.11.1): the TPM's own idea of time."""

    clock_ms: int
    """Milliseconds that the TPM was powered since its last clear."""
    reset_count: int
    """TPM resets since the last clear."""
    restart_count: int
    """Restarts and resumes since the last reset."""
    safe: bool
    """False when the clock may have gone back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PcrSelection:
    """TPMS_PCR_SELECTION (Part 2, section 10.6.1): one bank and the registers chosen in it."""

    bank: int
    """TPM_ALG_ID of the bank, as it came."""
    bitmap: bytes
    """One bit for each register, least significant bit of the first byte first."""

    @property
    def indices(self) -> tuple[int, ...]:
        """The registers whose bits are set, ascending."""
        bits = int.from_bytes(self.bitmap, "little")
        return tuple(index for index in range(8 * len(self.bitmap)) if bits >> index & 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Attest:
    """TPMS_ATTEST (Part 2, section 10.12.12), as far as its first two fields."""

    magic: int
    """UINT32; a genuine statement of the TPM has `TPM_GENERATED`."""
    type: int
    """UINT16, TPMI_ST_ATTEST; a quote has `ATTEST_QUOTE`."""
    body: bytes
    """All that follows; its form depends on the type."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuoteBody:
    """The rest of a TPMS_ATTEST whose type is a quote, with its TPMS_QUOTE_INFO."""

    qualified_signer: bytes
    """TPM2B_NAME of the key and its ancestors: the hash algorithm and a digest."""
    extra_data: bytes
    """TPM2B_DATA, the qualifying data that the caller of TPM2_Quote gave."""
    clock: ClockInfo
    firmware_version: int
    selections: tuple[PcrSelection, ...]
    """TPML_PCR_SELECTION as it was signed, duplicates and all."""
    pcr_digest: bytes
    """TPM2B_DIGEST over the selected registers, concatenated."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RsaSignature:
    """TPMS_SIGNATURE_RSA (Part 2, section 11.3.1)."""

    scheme: SignatureScheme
    hash_algorithm: int
    value: bytes
    """Big-endian, as long as the modulus."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EcdsaSignature:
    """TPMS_SIGNATURE_ECC for ECDSA (Part 2, section 11.3.2)."""

    scheme: SignatureScheme
    hash_algorithm: int
    r: int
    s: int


def parse_attest(data: bytes) -> Attest:
    """Return magic, type and the unread rest of a TPMS_ATTEST.

    Raises:
        FormatError: `quote.malformed` when it is shorter than its two first fields.
    """
    reader = Reader(data, what="TPMS_ATTEST", step=STEP)
    return Attest(magic=reader.uint(4), type=reader.uint(2), body=reader.take(reader.remaining))


def parse_quote_body(body: bytes) -> QuoteBody:
    """Return the fields of a quote after its magic and type.

    Raises:
        FormatError: `quote.malformed` or `quote.trailing_bytes`.
    """
    reader = Reader(body, what="TPMS_ATTEST of a quote", step=STEP)
    parsed = QuoteBody(
        qualified_signer=reader.sized(),
        extra_data=reader.sized(),
        clock=_clock_info(reader),
        firmware_version=reader.uint(8),
        selections=_pcr_selections(reader),
        pcr_digest=reader.sized(),
    )
    reader.end()
    return parsed


def parse_signature(data: bytes) -> RsaSignature | EcdsaSignature:
    """Return the TPMT_SIGNATURE (Part 2, section 11.3.4).

    Raises:
        FormatError: `quote.malformed`, also for a scheme that no attestation key of ours has;
            `quote.trailing_bytes`.
    """
    reader = Reader(data, what="TPMT_SIGNATURE", step=STEP)
    algorithm = reader.uint(2)
    try:
        scheme = SignatureScheme(algorithm)
    except ValueError as exc:
        raise reader.malformed("RSASSA, RSAPSS or ECDSA", f"TPM_ALG_ID 0x{algorithm:04x}") from exc
    hash_algorithm = reader.uint(2)
    parsed: RsaSignature | EcdsaSignature
    if scheme is SignatureScheme.ECDSA:
        parsed = EcdsaSignature(
            scheme=scheme,
            hash_algorithm=hash_algorithm,
            r=int.from_bytes(reader.sized(), "big"),
            s=int.from_bytes(reader.sized(), "big"),
        )
    else:
        parsed = RsaSignature(scheme=scheme, hash_algorithm=hash_algorithm, value=reader.sized())
    reader.end()
    return parsed


def _clock_info(reader: Reader) -> ClockInfo:
    clock_ms, reset_count, restart_count = reader.uint(8), reader.uint(4), reader.uint(4)
    safe = reader.uint(1)
    if safe > 1:
        raise reader.malformed("TPMI_YES_NO, 0 or 1", safe)
    return ClockInfo(
        clock_ms=clock_ms, reset_count=reset_count, restart_count=restart_count, safe=safe == 1
    )


def _pcr_selections(reader: Reader) -> tuple[PcrSelection, ...]:
    count = reader.uint(4)
    if count > MOST_BANKS:
        raise reader.malformed(f"at most {MOST_BANKS} PCR banks", count)
    return tuple(
        PcrSelection(bank=reader.uint(2), bitmap=reader.sized(size_field_bytes=1))
        for _ in range(count)
    )
