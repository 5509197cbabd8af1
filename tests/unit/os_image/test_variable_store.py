from __future__ import annotations

import struct

import pytest

from os_image.predict.bank import PredictionError
from os_image.predict.firmware import check_empty_variables, variables_span
from os_image.variable_store import (
    AUTHENTICATED,
    GLOBAL,
    PLAIN,
    Variable,
    VariableStoreError,
    with_variables,
)
from tests.unit.os_image.predict.images import variable_store

EMPTY = variable_store(room=512)


def variable(data: bytes, *, name: str = "PK", attributes: int = AUTHENTICATED) -> Variable:
    return Variable(vendor=GLOBAL, name=name, data=data, attributes=attributes)


def test_variables_follow_each_other_at_multiples_of_four() -> None:
    """Each has a header of 60 bytes, its name in UTF-16 with NUL, its data, and erased bytes."""
    filled = with_variables(EMPTY, [variable(b"abc"), variable(b"d", name="KEK", attributes=PLAIN)])
    start, _ = variables_span(EMPTY)
    first = filled[start : start + 72]
    assert first[:8] == struct.pack("<HBBI", 0x55AA, 0x3F, 0, 0x27)
    assert first[36:60] == struct.pack("<II16s", 6, 3, GLOBAL.bytes_le)
    assert first[60:] == "PK\0".encode("utf-16-le") + b"abc" + b"\xff" * 3
    second = filled[start + 72 :]
    assert second[:8] == struct.pack("<HBBI", 0x55AA, 0x3F, 0, 0x07)
    assert second[60:69] == "KEK\0".encode("utf-16-le") + b"d"
    assert len(filled) == len(EMPTY)
    assert filled[start + 72 + 72 :] == EMPTY[start + 72 + 72 :]


def test_a_store_is_filled_once() -> None:
    filled = with_variables(EMPTY, [variable(b"abc")])
    with pytest.raises(PredictionError, match="expected an empty store") as caught:
        with_variables(filled, [variable(b"abc")])
    assert caught.value.code == "predict.unknown_form"
    check_empty_variables(EMPTY)


def test_what_does_not_fit_is_refused() -> None:
    start, end = variables_span(EMPTY)
    with_variables(EMPTY, [variable(bytes(end - start - 66))])
    with pytest.raises(VariableStoreError, match="expected at most") as caught:
        with_variables(EMPTY, [variable(bytes(end - start - 65))])
    assert caught.value.code == "os_image.variable_store"
