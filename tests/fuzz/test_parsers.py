"""Whatever a server sends, the parsers raise `FormatError` or return: nothing else escapes."""

from __future__ import annotations

import base64
import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindllama._tpm.nonce_tree import NoncePath, nonce_tree_root
from blindllama.errors import AttestationKeyError, FormatError, FreshnessError, VerificationError
from tests.conformance.corpus import read_document
from tests.conformance.vector import read_case
from tests.fuzz.target import Target, targets
from tests.simulators.booted_guest import encode

CASE = read_case()
GENUINE: dict[str, Any] = json.loads(read_document("alone"))
LEAF = base64.b64decode(GENUINE["ak"]["certificate"])
TARGETS = tuple(targets())


def spoiled(genuine: bytes) -> st.SearchStrategy[bytes]:
    """Genuine bytes with a piece replaced, so that the parsers get past their first field."""

    def splice(place: int, length: int, piece: bytes) -> bytes:
        start = place % (len(genuine) + 1)
        return genuine[:start] + piece + genuine[start + length :]

    return st.builds(splice, st.integers(0, 4096), st.integers(0, 8), st.binary(max_size=8))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_parsers_raise_nothing_else(target: Target, data: st.DataObject) -> None:
    seed = data.draw(st.sampled_from(target.seeds))
    target(data.draw(st.one_of(spoiled(seed), st.binary(max_size=300))))


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_seeds_get_past_the_first_field(target: Target) -> None:
    """A seed that is refused would leave a fuzzer outside the door."""
    for seed in target.seeds:
        target.run(seed)


class ParserError(Exception):
    """What no parser may raise."""


def test_another_error_is_found() -> None:
    def broken(_: bytes) -> None:
        raise ParserError

    with pytest.raises(ParserError):
        Target(name="broken", run=broken, seeds=(b"",), share=1)(b"")


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
@pytest.mark.parametrize("byte", [b"[", b"9", b'"', b"\xff", b"\0"], ids=repr)
def test_t4_memory_is_bounded(target: Target, byte: bytes) -> None:
    """The largest document of one byte costs a small multiple of its own size."""
    data = byte * (1 << 20)
    tracemalloc.start()
    try:
        target(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 24 * len(data)


@given(
    st.binary(min_size=32, max_size=32),
    st.integers(-2, 1 << 20),
    st.integers(-2, 1 << 20),
    st.lists(st.binary(min_size=31, max_size=33), max_size=20),
)
def test_paths_raise_nothing_else(
    nonce: bytes, index: int, leaves: int, siblings: list[bytes]
) -> None:
    with suppress(FreshnessError):
        path = NoncePath(index=index, leaves=leaves, siblings=tuple(siblings))
        assert len(nonce_tree_root(nonce, path)) == 32


def test_paths_end_even_for_the_largest_tree() -> None:
    siblings = (bytes(32),) * 16
    path = NoncePath(index=65535, leaves=65536, siblings=siblings)
    assert len(nonce_tree_root(bytes(32), path)) == 32


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=8), children, max_size=3)
    ),
    max_leaves=8,
)


def _places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [path] if path else []
    if isinstance(value, dict):
        for key, child in value.items():
            found += _places(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            found += _places(child, (*path, index))
    return found


@given(st.sampled_from(_places(GENUINE)), JSON)
@settings(max_examples=300, deadline=None)
def test_any_value_anywhere_is_accepted_or_refused(
    path: tuple[str | int, ...], value: object
) -> None:
    document: Any = json.loads(json.dumps(GENUINE))
    place = document
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with suppress(VerificationError):
        verified = CASE.verify(json.dumps(document).encode())
        # Only what is informative, or explains, may change without a refusal.
        assert verified.spki == CASE.spki
        assert path[0] in {"event_log", "app_events", "clock"} or value == _at(path)


def _at(path: tuple[str | int, ...]) -> object:
    place: Any = GENUINE
    for key in path:
        place = place[key]
    return place


@given(spoiled(LEAF))
@settings(max_examples=300, deadline=None)
def test_any_leaf_is_accepted_or_refused(der: bytes) -> None:
    document = {**GENUINE, "ak": {**GENUINE["ak"], "certificate": base64.b64encode(der).decode()}}
    if der == LEAF:
        CASE.verify(encode(document))
        return
    with pytest.raises((AttestationKeyError, FormatError)):
        CASE.verify(encode(document))
