"""What an envelope of the right signer may hold: one kind of payload, one kind of statement."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from blindllama._release.bundle import VerifiedEnvelope
from blindllama._release.statement import PAYLOAD_TYPE, STATEMENT_TYPE, _statement
from blindllama.errors import Code, VerificationError
from tests.simulators.ak_authority import new_root

KIND = "https://blindllama.dev/test/v1"


def envelope(**changes: object) -> VerifiedEnvelope:
    document = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "disk", "digest": {"sha256": "ab" * 32}}],
        "predicateType": KIND,
        "predicate": {},
    }
    return VerifiedEnvelope(
        payload_type=PAYLOAD_TYPE,
        payload=json.dumps(document | changes).encode(),
        certificate=new_root().certificate,
        signed_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


def code(found: VerifiedEnvelope) -> Code:
    with pytest.raises(VerificationError) as caught:
        _statement(found, KIND)
    assert caught.value.step == 2
    return caught.value.code


def test_the_honest_one() -> None:
    assert _statement(envelope(), KIND).subjects == {"disk": "ab" * 32}


def test_s2_signed_bytes_of_another_kind() -> None:
    other = replace(envelope(), payload_type="application/json")
    assert code(other) is Code.STATEMENT_PAYLOAD_TYPE


@pytest.mark.parametrize("kind", ["https://in-toto.io/Statement/v0.1", None, 1, ""])
def test_s2_a_statement_of_another_version(kind: object) -> None:
    assert code(envelope(_type=kind)) is Code.STATEMENT_TYPE


def test_s2_a_statement_of_another_kind() -> None:
    assert code(envelope(predicateType=KIND + "x")) is Code.STATEMENT_PREDICATE_TYPE


@pytest.mark.parametrize("payload", [b"[]", b"null", b'"text"', b"1"])
def test_signed_bytes_that_are_no_object(payload: bytes) -> None:
    assert code(replace(envelope(), payload=payload)) is Code.FORMAT_SCHEMA
