"""Extending a PCR: one TPM command of 65 bytes.

Source: TCG TPM 2.0 Library, Part 3, TPM2_PCR_Extend; Part 1, password authorization sessions.
"""

import hashlib
import struct

from os_image.guest.errors import TpmError
from os_image.guest.transport import HEADER, Transport

_ST_SESSIONS = 0x8002
_CC_PCR_EXTEND = 0x0182
_RS_PW = 0x40000009
_ALG_SHA256 = 0x000B
_COMMAND = struct.Struct(">HIIIIIHBHIH32s")
"""Tag, size, command code, PCR handle; size of the authorisation area, session handle, nonce size,
attributes, size of the empty password; count of digests, algorithm, digest."""
_AUTHORISATION_SIZE = 9


def extend_command(index: int, data: bytes) -> bytes:
    """The command that extends PCR `index` of the SHA-256 bank with the digest of `data`."""
    return _COMMAND.pack(
        _ST_SESSIONS,
        _COMMAND.size,
        _CC_PCR_EXTEND,
        index,
        _AUTHORISATION_SIZE,
        _RS_PW,
        0,
        0,
        0,
        1,
        _ALG_SHA256,
        hashlib.sha256(data).digest(),
    )


def extend_pcr(transport: Transport, index: int, data: bytes) -> None:
    """Extends PCR `index` with the SHA-256 digest of `data`, in the SHA-256 bank only.

    Raises:
        TpmError: The TPM did not confirm it.
    """
    response = transport(extend_command(index, data))
    if len(response) < HEADER.size:
        raise TpmError(f"extend of PCR {index}: expected a response, got {len(response)} bytes")
    _, _, code = HEADER.unpack_from(response)
    if code != 0:
        raise TpmError(f"extend of PCR {index}: expected response code 0, got {code:#x}")
