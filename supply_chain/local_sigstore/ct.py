"""Certificate transparency: the promise, inside each certificate, that the log has recorded it.

Source: RFC 6962, sections 3.2 (SCT), 3.3 (embedding it) and 3.4 (the Merkle leaf).
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING

from asn1crypto import core
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from supply_chain.local_sigstore.keys import sign_ecdsa, spki

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from cryptography.hazmat.primitives.asymmetric import ec

    from supply_chain.local_sigstore.log import AppendOnlyLog

SCT_LIST = x509.ObjectIdentifier("1.3.6.1.4.1.11129.2.4.2")

_VERSION_1 = 0
_CERTIFICATE_TIMESTAMP = 0
_PRECERT_ENTRY = 1
_SHA256_ECDSA = b"\x04\x03"
"""SignatureAndHashAlgorithm of TLS 1.2: hash sha256, signature ecdsa."""


class TransparencyLog:
    """Records certificates before they are issued, and signs that it has."""

    def __init__(
        self, log: AppendOnlyLog, key: ec.EllipticCurvePrivateKey, clock: Callable[[], datetime]
    ) -> None:
        """Record in the log and sign with the key."""
        self._log = log
        self._key = key
        self._clock = clock
        self._log_id = hashlib.sha256(spki(key)).digest()

    def sct_list(self, tbs_certificate: bytes, issuer: x509.Certificate) -> bytes:
        """The value of the SCT list extension for a certificate that is about to be issued.

        Args:
            tbs_certificate: The certificate's body in DER, without this extension.
            issuer: Who is going to sign it.

        Returns:
            A DER OCTET STRING that holds one SCT.
        """
        issuer_spki = issuer.public_key().public_bytes(
            serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        time_ms = int(self._clock().timestamp()) * 1000
        entry = b"".join(
            (
                struct.pack(">QH", time_ms, _PRECERT_ENTRY),
                hashlib.sha256(issuer_spki).digest(),
                len(tbs_certificate).to_bytes(3, "big"),
                tbs_certificate,
                b"\x00\x00",  # no extensions
            )
        )
        # MerkleTreeLeaf: version 1, timestamped_entry. The same two zero bytes start what is
        # signed: there they mean version 1 and certificate_timestamp.
        self._log.append(b"\x00\x00" + entry, time_ms // 1000)
        header = struct.pack(">BB", _VERSION_1, _CERTIFICATE_TIMESTAMP)
        signature = sign_ecdsa(self._key, header + entry)
        sct = b"".join(
            (
                bytes([_VERSION_1]),
                self._log_id,
                struct.pack(">Q", time_ms),
                b"\x00\x00",  # no extensions
                _SHA256_ECDSA,
                struct.pack(">H", len(signature)),
                signature,
            )
        )
        listed = struct.pack(">H", len(sct)) + sct
        return bytes(core.OctetString(struct.pack(">H", len(listed)) + listed).dump())
