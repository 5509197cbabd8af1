"""What a platform decides: a value, and one hook for what only that platform knows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from blindllama._tpm.name import RsaTemplate, qualified_name
from blindllama._tpm.structures import HashAlgorithm, SignatureScheme
from blindllama.errors import UsageError
from blindllama.measurements import PlatformName
from blindllama.pcr import PcrBank

__all__ = ["ALL_SCHEMES", "QUOTED_PCRS", "SIMULATION_ORGANISATION", "Golden", "Platform"]

QUOTED_PCRS = frozenset(range(16))
"""Every platform quotes the sixteen registers of the static root of trust: a register that is not
quoted cannot be reported, and one that is missing has been a way around verification."""

ALL_SCHEMES = frozenset(
    (scheme, hashed)
    for scheme in SignatureScheme
    for hashed in (HashAlgorithm.SHA256, HashAlgorithm.SHA384)
)
"""Every scheme that the verification knows; a platform whose keys have one of them allows one."""

SIMULATION_ORGANISATION = "BlindLlama simulated vTPM (never a production root)"
"""The organisation in the subject of every root that a simulation makes for itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden:
    """A value that a register of the platform's own firmware was seen to have."""

    value: bytes
    """32 bytes."""
    seen: str
    """When, and on what."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """A place where a guest runs, as far as its evidence is concerned."""

    name: PlatformName
    evidence_kind: str
    """The `kind` of the evidence document."""
    limits: str
    """What a quote of this platform does not prove; shown wherever "verified" is."""
    simulation: bool
    """True when the root of trust is made by whoever runs the guest."""
    quoted: frozenset[int]
    """The registers that a quote must select: exactly these."""
    enforced: frozenset[int]
    """The registers that must have the release's value."""
    allowed: Mapping[int, tuple[Golden, ...]] = field(default_factory=lambda: MappingProxyType({}))
    """The registers that the platform's firmware fills, with the values that it is known to have:
    any of them will do, and so will those that the caller's policy adds. A release that predicts
    such a register has the say. Registers neither enforced nor here are reported."""
    schemes: frozenset[tuple[SignatureScheme, HashAlgorithm]]
    """How the platform's attestation keys sign."""
    key_templates: frozenset[RsaTemplate] | None = None
    """How the platform makes its attestation keys: a quote must be signed by a key of that name.
    None where whoever runs the guest makes it."""
    roots: frozenset[bytes] | None
    """SHA-256 fingerprints of the only roots there can be; None when each machine has its own and
    only the caller's policy knows it."""
    check_leaf: Callable[[x509.Certificate], None]
    """Checks what only this platform's leaf certificates say.

    Raises:
        AttestationKeyError: it is not a certificate of this platform.
    """

    def __post_init__(self) -> None:
        """Refuse a platform that would enforce nothing, or what it does not quote."""
        if not self.enforced or not self.enforced <= self.quoted:
            raise UsageError(
                f"enforced PCRs of {self.name}; expected some of {sorted(self.quoted)}; "
                f"got {sorted(self.enforced)}"
            )
        for index, values in self.allowed.items():
            sizes = {len(golden.value) for golden in values}
            if index not in self.quoted - self.enforced or sizes != {PcrBank.SHA256.size_bytes}:
                raise UsageError(
                    f"allowed values of PCR {index} of {self.name}; "
                    "expected some values of 32 bytes for a register that is not enforced"
                )

    def signers(self, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> frozenset[bytes] | None:
        """Return the qualified names that the key may have; None when any will do.

        All templates are of RSA keys. Another kind of key is refused by its scheme.
        """
        if self.key_templates is None or not isinstance(key, rsa.RSAPublicKey):
            return None
        return frozenset(qualified_name(key, template) for template in self.key_templates)
