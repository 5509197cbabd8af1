"""Keys of layout owners: which kinds there are, and what verifies with them.

The schemes are securesystemslib's, so that any of its signers can own a layout: a file, a hardware
module, a cloud's key service. One scheme has one algorithm, and the key's own type must be it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import MGF1, PSS
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

if TYPE_CHECKING:
    from blindllama._policy_parts import Owner

__all__ = ["owner_public_key", "signed_by_owner"]

_LEAST_RSA_BITS = 2048
_SALT_BYTES = 32

PublicKey = Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey


def owner_public_key(owner: Owner) -> PublicKey:
    """Return the key of an owner.

    Raises:
        ValueError: it is none, or of another kind than the owner's scheme.
    """
    if owner.scheme == "ed25519":
        raw = bytes.fromhex(owner.public)
        if raw.hex() != owner.public:
            raise ValueError("hexadecimal in another spelling")
        return Ed25519PublicKey.from_public_bytes(raw)
    try:
        key = load_pem_public_key(owner.public.encode())
    except UnsupportedAlgorithm as exc:
        raise ValueError(str(exc)) from exc
    if owner.scheme == "ecdsa-sha2-nistp256":
        if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
            return key
    elif isinstance(key, RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS:
        return key
    raise ValueError(f"{type(key).__name__} that does not go with {owner.scheme}")


def signed_by_owner(owner: Owner, *, signature: bytes, data: bytes) -> bool:
    """Tell whether the signature over the data verifies with the owner's key.

    Raises:
        ValueError: the owner's key is none.
    """
    key = owner_public_key(owner)
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, data)
        elif isinstance(key, EllipticCurvePublicKey):
            key.verify(signature, data, ECDSA(SHA256()))
        else:
            key.verify(signature, data, PSS(mgf=MGF1(SHA256()), salt_length=_SALT_BYTES), SHA256())
    except InvalidSignature:
        return False
    return True
