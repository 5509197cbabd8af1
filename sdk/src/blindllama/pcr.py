"""PCR indices and banks, and the one operation that a PCR knows: extend.

Source: TCG PC Client Platform TPM Profile, section 4.6 (24 PCRs); TCG TPM 2.0 Library, Part 1,
section 17.2 (extend); Part 3, TPM2_PCR_Extend.
"""

from __future__ import annotations

import hashlib
import re
from enum import StrEnum
from typing import TYPE_CHECKING

from blindllama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["PCR_COUNT", "ZERO", "PcrBank", "extend", "parse_pcr_index", "replay"]

PCR_COUNT = 24
"""PCRs of a PC client TPM, numbered from 0."""

_INDEX = re.compile(r"0|[1-9][0-9]?", re.ASCII)


class PcrBank(StrEnum):
    """The banks that verification accepts. SHA-1 is not among them, on purpose."""

    SHA256 = "sha256"

    @property
    def size_bytes(self) -> int:
        """The size of one PCR value of this bank, in bytes."""
        return 32


ZERO = bytes(PcrBank.SHA256.size_bytes)
"""What a PCR of the static root of trust holds after a reset: 32 zero bytes."""


def parse_pcr_index(text: str) -> int:
    """Return the PCR index that a decimal text without leading zeros names.

    Raises:
        ValueError: not a canonical decimal number from 0 to 23.
    """
    if not _INDEX.fullmatch(text) or int(text) >= PCR_COUNT:
        raise ValueError(f"PCR index; expected 0 to {PCR_COUNT - 1}; got {text!r}")
    return int(text)


def extend(value: bytes, digest: bytes) -> bytes:
    """Return SHA-256(value ‖ digest), the PCR's 32-byte value after one extend.

    Raises:
        UsageError: an operand is not 32 bytes long.
    """
    for operand in (value, digest):
        if len(operand) != PcrBank.SHA256.size_bytes:
            raise UsageError(f"operand of a PCR extend; expected 32 bytes; got {len(operand)}")
    return hashlib.sha256(value + digest).digest()


def replay(digests: Iterable[bytes], *, start: bytes = ZERO) -> bytes:
    """Return the 32-byte PCR value after extending `start` with each digest in order."""
    value = start
    for digest in digests:
        value = extend(value, digest)
    return value
