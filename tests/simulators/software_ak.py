"""An attestation key in software: it signs TPMS_ATTEST bytes, and it is no TPM.

It makes statements that no TPM would sign, quickly and without a TPM. What only real bytes can
show is tested with swtpm and with recorded evidence.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from blindllama._tpm.structures import HashAlgorithm, SignatureScheme

RSASSA_SHA256 = (SignatureScheme.RSASSA, HashAlgorithm.SHA256)
_HASHES = {HashAlgorithm.SHA256: hashes.SHA256, HashAlgorithm.SHA384: hashes.SHA384}
_ZERO = bytes(32)


def sized(data: bytes) -> bytes:
    """A TPM2B: UINT16 and the bytes."""
    return len(data).to_bytes(2, "big") + data


def bitmap(indices: Sequence[int], size_bytes: int = 3) -> bytes:
    """The bits of a PCR selection."""
    return sum(1 << index for index in set(indices)).to_bytes(size_bytes, "little")


@dataclass(frozen=True, kw_only=True)
class Statement:
    """The fields of a quote; a test replaces the one that it is about."""

    magic: int = 0xFF544347
    type: int = 0x8018
    signer: bytes = b"\x00\x0b" + bytes(32)
    """The qualified name of the key."""
    qualifying_data: bytes = bytes(32)
    selections: tuple[tuple[int, bytes], ...] = ((0x000B, bitmap(range(16))),)
    pcr_digest: bytes = bytes(32)
    safe: int = 1
    after: bytes = b""

    def marshal(self) -> bytes:
        """TPMS_ATTEST of TCG TPM 2.0 Library, Part 2, section 10.12.12."""
        selections = b"".join(
            bank.to_bytes(2, "big") + bytes([len(bits)]) + bits for bank, bits in self.selections
        )
        return (
            self.magic.to_bytes(4, "big")
            + self.type.to_bytes(2, "big")
            + sized(self.signer)
            + sized(self.qualifying_data)
            + (123_456).to_bytes(8, "big")
            + (7).to_bytes(4, "big")
            + (1).to_bytes(4, "big")
            + bytes([self.safe])
            + (0x2020_0312_0012_0003).to_bytes(8, "big")
            + len(self.selections).to_bytes(4, "big")
            + selections
            + sized(self.pcr_digest)
            + self.after
        )


@dataclass(frozen=True, kw_only=True)
class SoftwareAk:
    """A key that signs whatever it is given, in the form of TPMT_SIGNATURE."""

    key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def make_rsa(cls, bits: int = 2048) -> SoftwareAk:
        return cls(key=rsa.generate_private_key(public_exponent=65537, key_size=bits))

    @classmethod
    def make_ecc(cls, curve: ec.EllipticCurve | None = None) -> SoftwareAk:
        return cls(key=ec.generate_private_key(curve or ec.SECP256R1()))

    @property
    def public_key(self) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
        return self.key.public_key()

    def sign(
        self, data: bytes, scheme: tuple[SignatureScheme, HashAlgorithm] = RSASSA_SHA256
    ) -> bytes:
        """TPMT_SIGNATURE over the data."""
        algorithm, hash_algorithm = scheme
        head = algorithm.to_bytes(2, "big") + hash_algorithm.to_bytes(2, "big")
        digest = _HASHES[hash_algorithm]()
        if isinstance(self.key, ec.EllipticCurvePrivateKey):
            r, s = decode_dss_signature(self.key.sign(data, ec.ECDSA(digest)))
            size = (self.key.curve.key_size + 7) // 8
            return head + sized(r.to_bytes(size, "big")) + sized(s.to_bytes(size, "big"))
        pss = padding.PSS(padding.MGF1(digest), padding.PSS.DIGEST_LENGTH)
        how = padding.PKCS1v15() if algorithm is SignatureScheme.RSASSA else pss
        return head + sized(self.key.sign(data, how, digest))


@dataclass(kw_only=True)
class SoftwareQuoter:
    """Registers and a software key: quotes without a TPM, for servers under test."""

    ak: SoftwareAk
    registers: Mapping[int, bytes] = field(
        default_factory=lambda: MappingProxyType(dict.fromkeys(range(16), _ZERO))
    )
    statement: Statement = field(default_factory=Statement)
    """Fields of the quote; digest and qualifying data are filled in when quoting."""

    @property
    def public_key(self) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey:
        return self.ak.public_key

    def pcrs(self) -> Mapping[int, bytes]:
        return self.registers

    def extend(self, pcr: int, digest: bytes) -> None:
        """What TPM2_PCR_Extend does to one register."""
        value = hashlib.sha256(self.registers[pcr] + digest).digest()
        self.registers = MappingProxyType({**self.registers, pcr: value})

    def quote(self, qualifying_data: bytes) -> tuple[bytes, bytes]:
        digest = hashlib.sha256(b"".join(self.registers[index] for index in range(16))).digest()
        attest = replace(
            self.statement, qualifying_data=qualifying_data, pcr_digest=digest
        ).marshal()
        return attest, self.ak.sign(attest)
