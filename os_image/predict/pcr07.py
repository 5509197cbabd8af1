"""PCR 7: the state of Secure Boot.

Extended by: OVMF. Bytes: the variables SecureBoot, PK, KEK, db and dbx with their names and
contents, then the separator. No keys are enrolled in the machine, so Secure Boot is off and all of
them are empty: what runs is decided by PCR 4, 9 and 11, which name the very bytes, and not by who
signed them.

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[7],
EV_EFI_VARIABLE_DRIVER_CONFIG, UEFI_VARIABLE_DATA; UEFI 2.10, 3.3 Globally Defined Variables and
32.4 (EFI_IMAGE_SECURITY_DATABASE_GUID).
"""

from __future__ import annotations

import struct
from uuid import UUID

from blindllama.measurements import Component
from os_image.predict.bank import FIRMWARE_PROFILE, Event, event_of, separator

INDEX = 7

_GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
_SECURITY_DATABASE = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
_OFF = b"\0"

_VARIABLES = (
    (_GLOBAL, "SecureBoot", _OFF),
    (_GLOBAL, "PK", b""),
    (_GLOBAL, "KEK", b""),
    (_SECURITY_DATABASE, "db", b""),
    (_SECURITY_DATABASE, "dbx", b""),
)


def variable_data(vendor: UUID, name: str, content: bytes) -> bytes:
    """A UEFI_VARIABLE_DATA, as it is hashed.

    GUID, length of the name in characters (u64), of the content in bytes (u64), the name in
    UTF-16LE without NUL, the content; little-endian.
    """
    header = vendor.bytes_le + struct.pack("<QQ", len(name), len(content))
    return header + name.encode("utf-16-le") + content


def events() -> tuple[Event, ...]:
    """The extends of PCR 7, in order, of a machine without Secure Boot keys."""
    measured = tuple(
        event_of(
            INDEX,
            variable_data(vendor, name, content),
            what=f"variable {name}: {'off' if content else 'empty'}",
            source=f"{FIRMWARE_PROFILE}, EV_EFI_VARIABLE_DRIVER_CONFIG",
            component=Component.SECURE_BOOT,
        )
        for vendor, name, content in _VARIABLES
    )
    return (*measured, separator(INDEX))
