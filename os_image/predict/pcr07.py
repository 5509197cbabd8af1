"""PCR 7: the state of Secure Boot.

Extended by: OVMF. Bytes: the variables SecureBoot, PK, KEK, db and dbx with their names and
contents, then the separator. In the machine of a release no keys are enrolled, so Secure Boot is
off and all of them are empty: what runs is decided by PCR 4, 9 and 11, which name the very bytes,
and not by who signed them. With keys of one's own enrolled, PK, KEK and db hold one certificate
each, and after the separator comes the entry of db by which the UKI was found good.

Source: TCG PC Client Platform Firmware Profile 1.06, "PCR Usage", PCR[7],
EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_VARIABLE_AUTHORITY, UEFI_VARIABLE_DATA; UEFI 2.10, 3.3 Globally Defined Variables and
32.4 (EFI_IMAGE_SECURITY_DATABASE_GUID).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from blindllama.measurements import Component
from os_image.predict.bank import FIRMWARE_PROFILE, Event, event_of, separator
from os_image.secure_boot.variables import key_variables, signature
from os_image.variable_store import GLOBAL, SECURITY_DATABASE

if TYPE_CHECKING:
    from uuid import UUID

    from os_image.secure_boot.keys import Certificates

INDEX = 7

_OFF, _ON = b"\0", b"\1"
_NO_KEYS = ((GLOBAL, "PK", b""), (GLOBAL, "KEK", b""), (SECURITY_DATABASE, "db", b""))
_NOTHING_FORBIDDEN = (SECURITY_DATABASE, "dbx", b"")


def variable_data(vendor: UUID, name: str, content: bytes) -> bytes:
    """A UEFI_VARIABLE_DATA, as it is hashed.

    GUID, length of the name in characters (u64), of the content in bytes (u64), the name in
    UTF-16LE without NUL, the content; little-endian.
    """
    header = vendor.bytes_le + struct.pack("<QQ", len(name), len(content))
    return header + name.encode("utf-16-le") + content


def events(enrolled: Certificates | None = None) -> tuple[Event, ...]:
    """The extends of PCR 7, in order.

    Args:
        enrolled: The keys of the machine; None when it has none and Secure Boot is off.
    """
    state = (GLOBAL, "SecureBoot", _OFF if enrolled is None else _ON)
    keys = _NO_KEYS if enrolled is None else _contents(enrolled)
    measured = tuple(_variable_event(*variable) for variable in (state, *keys, _NOTHING_FORBIDDEN))
    if enrolled is None:
        return (*measured, separator(INDEX))
    authority = event_of(
        INDEX,
        variable_data(SECURITY_DATABASE, "db", signature(enrolled.db)),
        what="entry of db by which the UKI may start",
        source=f"{FIRMWARE_PROFILE}, EV_EFI_VARIABLE_AUTHORITY",
        component=Component.SECURE_BOOT,
    )
    return (*measured, separator(INDEX), authority)


def _contents(enrolled: Certificates) -> tuple[tuple[UUID, str, bytes], ...]:
    return tuple((key.vendor, key.name, key.data) for key in key_variables(enrolled))


def _variable_event(vendor: UUID, name: str, content: bytes) -> Event:
    said = {_OFF: "off", _ON: "on", b"": "empty"}.get(content, "one certificate")
    return event_of(
        INDEX,
        variable_data(vendor, name, content),
        what=f"variable {name}: {said}",
        source=f"{FIRMWARE_PROFILE}, EV_EFI_VARIABLE_DRIVER_CONFIG",
        component=Component.SECURE_BOOT,
    )
