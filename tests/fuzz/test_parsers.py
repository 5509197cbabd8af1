"""Whatever a server sends, the parsers raise `FormatError` or return: nothing else escapes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blindllama._tpm.event_log import parse_event_log, replay_log
from blindllama._tpm.nonce_tree import NoncePath, nonce_tree_root
from blindllama._tpm.structures import parse_attest, parse_quote_body, parse_signature
from blindllama.errors import AttestationKeyError, FormatError, FreshnessError, VerificationError
from blindllama.evidence import parse_evidence
from tests.conformance.corpus import read_document
from tests.conformance.vector import read_case
from tests.simulators.booted_guest import encode, event_log

CASE = read_case()
GENUINE: dict[str, Any] = json.loads(read_document("alone"))
ATTEST = base64.b64decode(GENUINE["quote"]["attest"])
SIGNATURE = base64.b64decode(GENUINE["quote"]["signature"])
LEAF = base64.b64decode(GENUINE["ak"]["certificate"])
LOG = event_log()


def spoiled(genuine: bytes) -> st.SearchStrategy[bytes]:
    """Genuine bytes with a piece replaced, so that the parsers get past their first field."""

    def splice(place: int, length: int, piece: bytes) -> bytes:
        start = place % (len(genuine) + 1)
        return genuine[:start] + piece + genuine[start + length :]

    return st.builds(splice, st.integers(0, 4096), st.integers(0, 8), st.binary(max_size=8))


@pytest.mark.parametrize(
    ("parse", "genuine"),
    [
        (parse_attest, ATTEST),
        (lambda data: parse_quote_body(data[6:]), ATTEST),
        (parse_signature, SIGNATURE),
        (lambda data: replay_log(parse_event_log(data)), LOG),
        (parse_evidence, encode(GENUINE)),
    ],
    ids=["attest", "quote", "signature", "event log", "evidence"],
)
@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_parsers_raise_nothing_else(
    parse: Callable[[bytes], object], genuine: bytes, data: st.DataObject
) -> None:
    with suppress(FormatError):
        parse(data.draw(st.one_of(spoiled(genuine), st.binary(max_size=300))))


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
