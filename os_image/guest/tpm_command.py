"""The six commands that a quote with its papers takes, byte for byte, and what answers them.

The TSS does this too, in eight libraries and a Python binding whose import takes as long as the
rest of the service's start under emulation. All handles here are persistent or permanent and all
authorisations are empty, so of the TPM's protocol this much is left.

Source: TCG TPM 2.0 Library 1.59, Part 1, 18 (command and response structure) and 19.4 (password
authorizations); Part 2 (structures); Part 3, TPM2_Quote, TPM2_PCR_Read, TPM2_NV_ReadPublic,
TPM2_NV_Read, TPM2_GetCapability, TPM2_ReadPublic.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from os_image.guest.errors import TpmError
from os_image.guest.transport import HEADER, Transport

OWNER = 0x40000001
"""TPM_RH_OWNER."""
NV_AUTHREAD = 1 << 18
"""TPMA_NV_AUTHREAD: the index's own authorisation reads it."""

_NO_SESSIONS, _SESSIONS = 0x8001, 0x8002
_NV_READ, _QUOTE, _NV_READ_PUBLIC = 0x14E, 0x158, 0x169
_READ_PUBLIC, _GET_CAPABILITY, _PCR_READ = 0x173, 0x17A, 0x17E
_PASSWORD = struct.pack(">IIHBH", 9, 0x40000009, 0, 0, 0)
"""Size of the area; TPM_RS_PW, no nonce, no attributes, an empty password."""
_SHA256, _NULL = 0x000B, 0x0010
_HANDLES = 1
"""TPM_CAP_HANDLES."""
_AGAIN = frozenset({0x908, 0x90A, 0x922})
"""TPM_RC_YIELDED, TPM_RC_TESTING, TPM_RC_RETRY: the same command again."""
_ATTEMPTS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class NvPublic:
    """What a TPM says about an NV index."""

    attributes: int
    """TPMA_NV."""
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """What a quote says, as far as the service looks at it."""

    pcr_digest: bytes
    reset_count: int
    restart_count: int


class Reader:
    """Reads the fields of a response in order, big-endian; what is missing is an error."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def number(self, size: int) -> int:
        """The next unsigned number of `size` bytes."""
        return int.from_bytes(self.raw(size), "big")

    def raw(self, size: int) -> bytes:
        """The next `size` bytes."""
        found = self._data[self._at : self._at + size]
        if len(found) != size:
            raise TpmError(f"TPM: expected {size} more bytes of a response, got {len(found)}")
        self._at += size
        return found

    def sized(self) -> bytes:
        """The content of the next TPM2B: a length of two bytes, then so many."""
        return self.raw(self.number(2))

    def selection(self) -> None:
        """Skip a TPML_PCR_SELECTION."""
        for _ in range(self.number(4)):
            self.raw(2)
            self.raw(self.number(1))


def quote(
    transport: Transport, key: int, qualifying_data: bytes, pcrs: Sequence[int]
) -> tuple[bytes, bytes]:
    """TPM2_Quote with the scheme of the key: TPMS_ATTEST and TPMT_SIGNATURE."""
    parameters = _sized(qualifying_data) + struct.pack(">H", _NULL) + _selection(pcrs)
    answer = _send(transport, _QUOTE, [key], parameters, authorised=True)
    parameters = answer.raw(answer.number(4))
    reader = Reader(parameters)
    attest = reader.sized()
    return attest, parameters[2 + len(attest) :]


def read_pcrs(transport: Transport, pcrs: Sequence[int]) -> tuple[bytes, ...]:
    """TPM2_PCR_Read of the SHA-256 bank; a TPM returns at most eight digests."""
    answer = _send(transport, _PCR_READ, [], _selection(pcrs))
    answer.number(4)
    answer.selection()
    values = tuple(answer.sized() for _ in range(answer.number(4)))
    if len(values) != len(pcrs):
        raise TpmError(f"PCR read: expected {len(pcrs)} digests, got {len(values)}")
    return values


def has_handle(transport: Transport, handle: int) -> bool:
    """TPM2_GetCapability: whether there is an object or index with this handle."""
    answer = _send(transport, _GET_CAPABILITY, [], struct.pack(">III", _HANDLES, handle, 1))
    answer.raw(1 + 4)
    return handle in [answer.number(4) for _ in range(answer.number(4))]


def read_public(transport: Transport, handle: int) -> bytes:
    """TPM2_ReadPublic: the TPMT_PUBLIC of a key."""
    return _send(transport, _READ_PUBLIC, [handle], b"").sized()


def read_nv_public(transport: Transport, index: int) -> NvPublic:
    """TPM2_NV_ReadPublic."""
    public = Reader(_send(transport, _NV_READ_PUBLIC, [index], b"").sized())
    public.raw(4 + 2)
    attributes = public.number(4)
    public.sized()
    return NvPublic(attributes=attributes, size_bytes=public.number(2))


def read_nv(transport: Transport, index: int, *, authority: int, offset: int, size: int) -> bytes:
    """TPM2_NV_Read of `size` bytes, at most what the TPM returns at once."""
    parameters = struct.pack(">HH", size, offset)
    answer = _send(transport, _NV_READ, [authority, index], parameters, authorised=True)
    return Reader(answer.raw(answer.number(4))).sized()


def parse_attest(attest: bytes) -> Attested:
    """The parts of a TPMS_ATTEST that the service looks at."""
    reader = Reader(attest)
    reader.raw(4 + 2)
    reader.sized()
    reader.sized()
    reader.raw(8)
    reset_count, restart_count = reader.number(4), reader.number(4)
    reader.raw(1 + 8)
    reader.selection()
    return Attested(pcr_digest=reader.sized(), reset_count=reset_count, restart_count=restart_count)


def _send(
    transport: Transport,
    code: int,
    handles: Sequence[int],
    parameters: bytes,
    *,
    authorised: bool = False,
) -> Reader:
    body = b"".join(struct.pack(">I", handle) for handle in handles)
    body += (_PASSWORD if authorised else b"") + parameters
    tag = _SESSIONS if authorised else _NO_SESSIONS
    command = HEADER.pack(tag, HEADER.size + len(body), code) + body
    for _ in range(_ATTEMPTS):
        response = transport(command)
        if len(response) < HEADER.size:
            raise TpmError(f"TPM command {code:#x}: expected a response, got {len(response)} bytes")
        _, size, result = HEADER.unpack_from(response)
        if result not in _AGAIN:
            break
    if result != 0:
        raise TpmError(f"TPM command {code:#x}: expected response code 0, got {result:#x}")
    if size != len(response):
        raise TpmError(f"TPM command {code:#x}: expected {size} bytes, got {len(response)}")
    return Reader(response[HEADER.size :])


def _sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def _selection(pcrs: Sequence[int]) -> bytes:
    chosen = sum(1 << index for index in pcrs)
    return struct.pack(">IHB", 1, _SHA256, 3) + chosen.to_bytes(3, "little")
