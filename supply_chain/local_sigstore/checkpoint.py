"""Checkpoints: signed notes that commit a log to a size and a root.

Source: C2SP tlog-checkpoint and signed-note; Rekor puts the first four bytes of the log's
identifier in the place of the note's key hash.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

if TYPE_CHECKING:
    from collections.abc import Callable

DASH = "\u2014"
HINT_BYTES = 4
_NOTE = re.compile(r"([^\n]+)\n([0-9]{1,18})\n([A-Za-z0-9+/]{43}=)\n")
_SIGNATURE = re.compile(DASH + r" (\S+) ([A-Za-z0-9+/]+={0,2})\n")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A log at one moment."""

    origin: str
    """The log's name, and for version 1 the number of its tree."""
    size: int
    root: bytes

    @property
    def note(self) -> bytes:
        """The bytes that are signed."""
        root = base64.b64encode(self.root).decode()
        return f"{self.origin}\n{self.size}\n{root}\n".encode()

    def signed(self, name: str, log_id: bytes, sign: Callable[[bytes], bytes]) -> str:
        """The note with one signature.

        Args:
            name: The signer's name.
            log_id: The log's identifier, whose first bytes tell which key to verify with.
            sign: Makes a signature with the log's key.
        """
        signature = base64.b64encode(log_id[:HINT_BYTES] + sign(self.note)).decode()
        return f"{self.note.decode()}\n{DASH} {name} {signature}\n"


def verify_checkpoint(
    text: str, log_id: bytes, key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey
) -> Checkpoint:
    """Return the checkpoint in a signed note, once the log's key has verified it.

    Raises:
        ValueError: It is malformed, or the log has not signed it.
    """
    note, separator, signatures = text.partition("\n\n")
    match = _NOTE.fullmatch(note + "\n")
    if match is None or not separator:
        raise ValueError("checkpoint: expected origin, size, root and signatures")
    checkpoint = Checkpoint(
        origin=match[1], size=int(match[2]), root=base64.b64decode(match[3], validate=True)
    )
    for _, encoded in _SIGNATURE.findall(signatures):
        try:
            blob = base64.b64decode(encoded, validate=True)
            if blob[:HINT_BYTES] == log_id[:HINT_BYTES]:
                _verify(key, blob[HINT_BYTES:], checkpoint.note)
                return checkpoint
        except (binascii.Error, InvalidSignature) as exc:
            raise ValueError("checkpoint: the log's signature does not verify") from exc
    raise ValueError("checkpoint: it bears no signature of the log")


def _verify(
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey, signature: bytes, data: bytes
) -> None:
    if isinstance(key, ed25519.Ed25519PublicKey):
        key.verify(signature, data)
    else:
        key.verify(signature, data, ec.ECDSA(hashes.SHA256()))
