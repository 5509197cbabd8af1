"""The name by which a TPM calls a key, computed from a certificate's key and a template.

A quote says who signed it: the qualified name of its key, which is a hash over the key's public
area (what it may do, who may use it) and over its parents up to the hierarchy. Whoever knows the
template of a platform's attestation keys can compute it from the certified key alone. When it is
the same, the certified key was made from that template: restricted to what the TPM itself says,
never to leave it, and in the hierarchy that the platform says.

It is a test of consistency. It binds no attacker who holds the private key: such a one writes
what it likes.

Source: TCG TPM 2.0 Library, Part 1, section 16 (names); Part 2, section 12.2.4 (TPMT_PUBLIC),
section 12.2.3.5 (TPMS_RSA_PARMS), section 7.4 (permanent handles).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from cryptography.hazmat.primitives.asymmetric import rsa

from blindllama._tpm.structures import HashAlgorithm, SignatureScheme

__all__ = ["RESTRICTED_SIGNING", "RH_ENDORSEMENT", "RsaTemplate", "qualified_name"]

RH_ENDORSEMENT: Final = 0x4000000B
"""TPM_RH_ENDORSEMENT: the hierarchy of the platform's maker."""

RESTRICTED_SIGNING: Final = 0x00050472
"""TPMA_OBJECT of an attestation key: fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth,
noDA, restricted, sign (Part 2, section 8.3)."""

_ALG_RSA: Final = 0x0001
_ALG_NULL: Final = 0x0010
_DEFAULT_EXPONENT: Final = 65537


@dataclass(frozen=True, slots=True, kw_only=True)
class RsaTemplate:
    """What a TPM was told when it made a primary RSA key that signs by RSASSA with SHA-256."""

    hierarchy: int
    """The handle of the key's parent."""
    attributes: int
    """TPMA_OBJECT."""
    policy: bytes
    """Digest of the policy that may use the key besides its authorisation value; mostly empty."""


def qualified_name(key: rsa.RSAPublicKey, template: RsaTemplate) -> bytes:
    """Return the qualified name, 34 bytes, of a key that was made from the template.

    It is 0x000B ‖ SHA-256(parent ‖ name), where the parent is the handle of the hierarchy and the
    name is 0x000B ‖ SHA-256(TPMT_PUBLIC).
    """
    name = _hashed(_public_area(key, template))
    return _hashed(template.hierarchy.to_bytes(4, "big") + name)


def _public_area(key: rsa.RSAPublicKey, template: RsaTemplate) -> bytes:
    """TPMT_PUBLIC."""
    numbers = key.public_numbers()
    # Zero stands for the default; a TPM has no other unless it was asked for one.
    exponent = 0 if numbers.e == _DEFAULT_EXPONENT else numbers.e
    return b"".join(
        (
            _u16(_ALG_RSA),
            _u16(HashAlgorithm.SHA256),
            template.attributes.to_bytes(4, "big"),
            _sized(template.policy),
            _u16(_ALG_NULL),  # no symmetric cipher: it is no storage key
            _u16(SignatureScheme.RSASSA),
            _u16(HashAlgorithm.SHA256),
            _u16(key.key_size),
            (exponent & 0xFFFFFFFF).to_bytes(4, "big"),
            _sized(numbers.n.to_bytes((key.key_size + 7) // 8, "big")),
        )
    )


def _hashed(data: bytes) -> bytes:
    return _u16(HashAlgorithm.SHA256) + hashlib.sha256(data).digest()


def _sized(data: bytes) -> bytes:
    return _u16(len(data)) + data


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")
