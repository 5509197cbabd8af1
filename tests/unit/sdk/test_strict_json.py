from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama._strict_json import canonical_json, parse_json
from blindllama.errors import Code, FormatError

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def code_of(data: bytes, *, limit: int = 1 << 20) -> Code:
    with pytest.raises(FormatError) as caught:
        parse_json(data, limit=limit, step=6, what="test")
    assert caught.value.step == 6
    return caught.value.code


@given(VALUES)
def test_what_json_writes_is_read(value: object) -> None:
    data = json.dumps(value).encode()
    assert parse_json(data, limit=len(data), step=6) == value


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.FORMAT_NOT_JSON),
        (b"{", Code.FORMAT_NOT_JSON),
        (b"{} {}", Code.FORMAT_NOT_JSON),
        (b"NaN", Code.FORMAT_NOT_JSON),
        (b"[Infinity]", Code.FORMAT_NOT_JSON),
        (b"{'a':1}", Code.FORMAT_NOT_JSON),
        (b'"\x01"', Code.FORMAT_NOT_JSON),
        (b"\xef\xbb\xbf{}", Code.FORMAT_NOT_JSON),
        (b"1" * 5000, Code.FORMAT_NOT_JSON),
        (b'"\xff"', Code.FORMAT_NOT_UTF8),
        (b'"\xed\xa0\x80"', Code.FORMAT_NOT_UTF8),
        (b'{"a":1,"a":1}', Code.FORMAT_DUPLICATE_KEY),
        (b'{"a":1,"\\u0061":2}', Code.FORMAT_DUPLICATE_KEY),
        (b'[[{"x":{"k":1,"k":2}}]]', Code.FORMAT_DUPLICATE_KEY),
        (b"[" * 40 + b"]" * 40, Code.FORMAT_TOO_DEEP),
        (b'{"a":' * 40 + b"1" + b"}" * 40, Code.FORMAT_TOO_DEEP),
        (b"[" * 400_000, Code.FORMAT_TOO_DEEP),
    ],
)
def test_everything_else_is_refused(data: bytes, code: Code) -> None:
    assert code_of(data) is code


def test_size_is_looked_at_first() -> None:
    assert code_of(b"[" * 11, limit=10) is Code.FORMAT_TOO_LARGE


def test_depth_is_allowed_up_to_the_limit() -> None:
    data = b"[" * 32 + b"]" * 32
    assert canonical_json(parse_json(data, limit=64, step=6)) == data


@given(st.binary(max_size=200))
def test_nothing_but_a_format_error(data: bytes) -> None:
    try:
        parse_json(data, limit=100, step=6)
    except FormatError as error:
        assert error.code.value.startswith("format.")  # noqa: PT017 - both outcomes are right


def test_canonical_form_has_one_spelling() -> None:
    assert canonical_json({"b": [1, "é"], "a": None}) == '{"a":null,"b":[1,"é"]}'.encode()
