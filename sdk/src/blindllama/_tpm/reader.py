"""A reader of fixed-size fields that must be consumed to its last byte.

TPM structures are big-endian (TCG TPM 2.0 Library, Part 1, section 12.1), event logs are
little-endian (TCG PC Client Platform Firmware Profile, section 10.1); the reader is told which.
"""

from __future__ import annotations

from typing import Literal

from blindllama.errors import Code, FormatError

__all__ = ["Reader"]


class Reader:
    """Reads integers and byte strings from left to right, and never past the end."""

    __slots__ = ("_data", "_malformed", "_offset", "_order", "_step", "_trailing", "_what")

    def __init__(
        self,
        data: bytes,
        *,
        what: str,
        step: int,
        order: Literal["big", "little"] = "big",
        malformed: Code = Code.QUOTE_MALFORMED,
        trailing: Code = Code.QUOTE_TRAILING_BYTES,
    ) -> None:
        """Start at the first byte of `data`; the other arguments are for errors."""
        self._data = data
        self._offset = 0
        self._what = what
        self._step = step
        self._order: Literal["big", "little"] = order
        self._malformed = malformed
        self._trailing = trailing

    @property
    def remaining(self) -> int:
        """How many bytes have not been read."""
        return len(self._data) - self._offset

    def take(self, size_bytes: int) -> bytes:
        """Return the next `size_bytes` bytes.

        Raises:
            FormatError: `quote.malformed` (or the code given) when fewer are left.
        """
        if size_bytes > self.remaining:
            raise self.malformed(f"{size_bytes} more bytes", f"{self.remaining} bytes")
        start = self._offset
        self._offset += size_bytes
        return self._data[start : self._offset]

    def uint(self, size_bytes: int) -> int:
        """Return the next unsigned integer of that many bytes."""
        return int.from_bytes(self.take(size_bytes), self._order)

    def sized(self, size_field_bytes: int = 2) -> bytes:
        """Return the next TPM2B: a size (UINT16 unless told) and that many bytes."""
        return self.take(self.uint(size_field_bytes))

    def end(self) -> None:
        """Check that every byte was read.

        Raises:
            FormatError: `quote.trailing_bytes` (or the code given) when some are left.
        """
        if self.remaining:
            raise FormatError(
                f"end of the {self._what}",
                code=self._trailing,
                step=self._step,
                expected="no byte after the structure",
                got=f"{self.remaining} bytes",
            )

    def malformed(self, expected: object, got: object) -> FormatError:
        """Return the error for bytes that this structure cannot hold at this place."""
        return FormatError(
            f"{self._what}, near byte {self._offset}",
            code=self._malformed,
            step=self._step,
            expected=expected,
            got=got,
        )
