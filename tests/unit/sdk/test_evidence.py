from __future__ import annotations

import base64
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama.errors import Code, FormatError
from blindllama.evidence import EVIDENCE_LIMIT_BYTES, decode_base64, parse_evidence
from tests.simulators.booted_guest import encode


@pytest.fixture
def document(checkout: Path) -> dict[str, Any]:
    value: dict[str, Any] = json.loads((checkout / "tests/golden/evidence-v1.json").read_bytes())
    return value


def refused(data: bytes, code: Code) -> None:
    with pytest.raises(FormatError) as caught:
        parse_evidence(data)
    assert caught.value.code is code
    assert caught.value.step == 6


def test_reads_the_golden_document(document: dict[str, Any]) -> None:
    evidence = parse_evidence(encode(document))
    assert evidence.kind == "tpm-quote"
    assert evidence.attest[:4] == b"\xffTCG"
    assert sorted(evidence.pcrs) == list(range(16))
    assert [value.hex() for value in evidence.pcrs.values()] == document["pcrs"]["sha256"]
    assert len(evidence.ak_issuers) == 2
    assert (evidence.nonce_path.index, evidence.nonce_path.leaves) == (0, 1)
    assert [event.name for event in evidence.app_events] == ["app-disk", "sealed"]


def test_t4_size_is_limited_before_anything_is_parsed() -> None:
    refused(b"[" * (EVIDENCE_LIMIT_BYTES + 1), Code.FORMAT_TOO_LARGE)


def test_a_document_of_the_largest_size_is_read(document: dict[str, Any]) -> None:
    data = encode(document)
    padded = data + b" " * (EVIDENCE_LIMIT_BYTES - len(data))
    assert parse_evidence(padded).attest == parse_evidence(data).attest
    refused(padded + b" ", Code.FORMAT_TOO_LARGE)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"", Code.FORMAT_NOT_JSON),
        (b"[" * 100_000, Code.FORMAT_TOO_DEEP),
        (b"\xff\xfe", Code.FORMAT_NOT_UTF8),
        (b"null", Code.FORMAT_SCHEMA),
        (b"[]", Code.FORMAT_SCHEMA),
        (b"{}", Code.FORMAT_VERSION),
        (b'{"version":1}', Code.EVIDENCE_KIND),
        (b'{"version":1.0,"kind":"tpm-quote"}', Code.FORMAT_VERSION),
        (b'{"version":true,"kind":"tpm-quote"}', Code.FORMAT_VERSION),
        (b'{"version":NaN}', Code.FORMAT_NOT_JSON),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_t4_hostile_documents(data: bytes, code: Code) -> None:
    refused(data, code)


@pytest.mark.parametrize("section", ["quote", "pcrs", "ak", "nonce_path", "clock"])
def test_every_object_is_closed(document: dict[str, Any], section: str) -> None:
    document[section]["more"] = 1
    refused(encode(document), Code.FORMAT_SCHEMA)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("quote", "attest"), None),
        (("quote", "attest"), 7),
        (("pcrs", "sha256"), {}),
        (("pcrs", "sha256"), ["00" * 32] * 17),
        (("pcrs", "sha256"), ["00" * 31 + "0"] * 16),
        (("pcrs", "sha256"), ["٠" * 64] * 16),
        (("ak", "intermediates"), "AAAA"),
        (("ak", "intermediates"), ["AAAA"] * 17),
        (("nonce_path", "index"), True),
        (("nonce_path", "index"), 0.0),
        (("nonce_path", "index"), -1),
        (("nonce_path", "siblings"), ["AAAA"] * 65),
        (("clock", "reset_count"), "1"),
    ],
)
def test_types_are_strict(document: dict[str, Any], path: tuple[str, str], value: object) -> None:
    document[path[0]][path[1]] = value
    refused(encode(document), Code.FORMAT_SCHEMA)


@pytest.mark.parametrize(
    "event",
    [
        {"pcr": 16, "name": "x", "data": ""},
        {"pcr": -1, "name": "x", "data": ""},
        {"pcr": 15, "name": "", "data": ""},
        {"pcr": 15, "name": "x"},
    ],
)
def test_app_events_are_strict(document: dict[str, Any], event: dict[str, Any]) -> None:
    document["app_events"] = [event]
    refused(encode(document), Code.FORMAT_SCHEMA)


@pytest.mark.parametrize(
    "text",
    ["A", "AA", "AAA", "AAAAA", "AB==", "AAA=AAAA", " AAAA", "AAAA\n", "-_-_", "AAAA====", "ÄÄÄÄ"],
)
def test_base64_has_one_spelling(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        decode_base64(text, "field")
    assert caught.value.code is Code.FORMAT_ENCODING


@given(st.binary(max_size=64), st.text(max_size=90))
def test_base64_that_decodes_encodes_back(data: bytes, text: str) -> None:
    assert decode_base64(base64.b64encode(data).decode(), "field") == data
    with suppress(FormatError):
        assert base64.b64encode(decode_base64(text, "field")).decode() == text
