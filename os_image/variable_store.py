"""A store of UEFI variables with something in it, as OVMF keeps it in its second flash image.

Source: EDK II, MdeModulePkg/Include/Guid/VariableFormat.h (AUTHENTICATED_VARIABLE_HEADER).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import UUID

from os_image.predict.firmware import check_empty_variables, variables_span
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable

GLOBAL = UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c")
"""EFI_GLOBAL_VARIABLE: what the UEFI specification itself names."""
SECURITY_DATABASE = UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f")
"""EFI_IMAGE_SECURITY_DATABASE_GUID: db and dbx."""

PLAIN = 0x07
"""Non-volatile, boot services, runtime."""
AUTHENTICATED = 0x27
"""Likewise, and written with a time-based authentication only."""

_HEADER = struct.Struct("<HBxI8x16x4xII16s")
"""Start mark, state, attributes, [count, time, key index], sizes of name and data, vendor."""
_START = 0x55AA
_ADDED = 0x3F
_ALIGNMENT = 4
_ERASED = b"\xff"


class VariableStoreError(BuildError):
    """The variables do not fit into the store."""

    code = "os_image.variable_store"


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """One variable."""

    vendor: UUID
    name: str
    data: bytes
    attributes: int


def with_variables(store: bytes, variables: Iterable[Variable]) -> bytes:
    """The store with these variables in it.

    Args:
        store: An empty one (`OVMF_VARS*.fd`).
        variables: What to put in, in this order.

    Raises:
        PredictionError: It is not empty or is no variable store.
        VariableStoreError: There is no room for them.
    """
    check_empty_variables(store)
    start, end = variables_span(store)
    content = b"".join(_entry(variable) for variable in variables)
    if start + len(content) > end:
        raise VariableStoreError(
            f"variable store: expected at most {end - start} bytes, got {len(content)}"
        )
    return store[:start] + content + store[start + len(content) :]


def _entry(variable: Variable) -> bytes:
    name = (variable.name + "\0").encode("utf-16-le")
    header = _HEADER.pack(
        _START,
        _ADDED,
        variable.attributes,
        len(name),
        len(variable.data),
        variable.vendor.bytes_le,
    )
    entry = header + name + variable.data
    return entry + _ERASED * (-len(entry) % _ALIGNMENT)
