"""The variables of Secure Boot: what they hold, and a variable store that holds them.

The bytes are measured into PCR 7, so the prediction and the store are made from the same ones.

Source: UEFI 2.10, 32.4.1 Signature Database (EFI_SIGNATURE_LIST, EFI_SIGNATURE_DATA).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING
from uuid import UUID

from os_image.variable_store import (
    AUTHENTICATED,
    GLOBAL,
    SECURITY_DATABASE,
    Variable,
    with_variables,
)

if TYPE_CHECKING:
    from os_image.secure_boot.keys import Certificates

OWNER = UUID("b1d1a3a0-0004-4000-8000-626c696e646c")
"""Who put a certificate there; firmware does not look at it, but it is measured."""

_X509 = UUID("a5c059a1-94e4-4aa7-87b5-ab155c2bf072")
_LIST = struct.Struct("<16sIII")
"""Type of the signatures, size of the list, of its header, of each signature."""


def signature(certificate: bytes) -> bytes:
    """An EFI_SIGNATURE_DATA: who put it there, then the certificate, DER."""
    return OWNER.bytes_le + certificate


def signature_list(certificate: bytes) -> bytes:
    """An EFI_SIGNATURE_LIST with one certificate: what PK, KEK and db hold."""
    entry = signature(certificate)
    return _LIST.pack(_X509.bytes_le, _LIST.size + len(entry), 0, len(entry)) + entry


def key_variables(certificates: Certificates) -> tuple[Variable, ...]:
    """PK, KEK and db, in the order of their measurement."""
    places = (
        (GLOBAL, "PK", certificates.pk),
        (GLOBAL, "KEK", certificates.kek),
        (SECURITY_DATABASE, "db", certificates.db),
    )
    return tuple(
        Variable(
            vendor=vendor,
            name=name,
            data=signature_list(certificate),
            attributes=AUTHENTICATED,
        )
        for vendor, name, certificate in places
    )


def enrolled(store: bytes, certificates: Certificates) -> bytes:
    """The variable store with the keys in it; OVMF switches Secure Boot on when it finds a PK.

    Args:
        store: An empty one (`OVMF_VARS*.fd`).
        certificates: What to put in.

    Raises:
        PredictionError: It is not empty or is no variable store.
        VariableStoreError: There is no room for them.
    """
    return with_variables(store, key_variables(certificates))
