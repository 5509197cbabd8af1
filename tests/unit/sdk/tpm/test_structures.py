from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from blindllama._tpm.structures import (
    EcdsaSignature,
    HashAlgorithm,
    RsaSignature,
    SignatureScheme,
    parse_attest,
    parse_quote_body,
    parse_signature,
)
from blindllama.errors import Code, FormatError
from tests.simulators.software_ak import SoftwareAk, Statement, bitmap, sized

SHA256 = 0x000B


def body_of(statement: Statement) -> bytes:
    return parse_attest(statement.marshal()).body


def refused(body: bytes, code: Code = Code.QUOTE_MALFORMED) -> None:
    with pytest.raises(FormatError) as caught:
        parse_quote_body(body)
    assert caught.value.code is code
    assert caught.value.step == 8


def test_reads_a_quote_that_a_tpm_made(checkout: Path) -> None:
    document = json.loads((checkout / "tests/golden/evidence-v1.json").read_bytes())
    attest = parse_attest(base64.b64decode(document["quote"]["attest"]))
    assert (attest.magic, attest.type) == (0xFF544347, 0x8018)
    body = parse_quote_body(attest.body)
    (selection,) = body.selections
    assert (selection.bank, selection.indices) == (SHA256, tuple(range(16)))
    assert len(body.extra_data) == len(body.pcr_digest) == 32
    assert body.qualified_signer[:2] == b"\0\x0b"
    assert body.clock.reset_count == 1
    signature = parse_signature(base64.b64decode(document["quote"]["signature"]))
    assert isinstance(signature, RsaSignature)
    assert (signature.scheme, signature.hash_algorithm) == (SignatureScheme.RSASSA, SHA256)
    assert len(signature.value) == 256


def test_reads_every_field() -> None:
    statement = Statement(
        qualifying_data=b"q" * 5,
        selections=((4, b""), (SHA256, bitmap([0, 9, 23]))),
        pcr_digest=b"d" * 48,
        safe=0,
    )
    body = parse_quote_body(body_of(statement))
    assert body.extra_data == b"qqqqq"
    assert [selection.indices for selection in body.selections] == [(), (0, 9, 23)]
    assert body.pcr_digest == b"d" * 48
    assert (body.clock.clock_ms, body.clock.reset_count, body.clock.restart_count) == (
        123_456,
        7,
        1,
    )
    assert body.clock.safe is False
    assert body.firmware_version == 0x2020031200120003


def test_every_truncation_is_malformed() -> None:
    body = body_of(Statement())
    for size in range(len(body)):
        refused(body[:size])


def test_nothing_may_follow() -> None:
    refused(body_of(Statement(after=b"\0")), Code.QUOTE_TRAILING_BYTES)


def test_yes_no_is_0_or_1() -> None:
    refused(body_of(Statement(safe=2)))


def test_more_banks_than_a_tpm_has() -> None:
    refused(body_of(Statement(selections=((SHA256, bitmap([0])),) * 17)))


def test_magic_and_type_are_returned_as_they_came() -> None:
    attest = parse_attest(b"\1\2\3\4\5\6rest")
    assert (attest.magic, attest.type, attest.body) == (0x01020304, 0x0506, b"rest")


@pytest.mark.parametrize("size", range(6))
def test_an_attest_has_magic_and_type(size: int) -> None:
    with pytest.raises(FormatError) as caught:
        parse_attest(bytes(size))
    assert caught.value.code is Code.QUOTE_MALFORMED


def test_reads_an_ecdsa_signature() -> None:
    parsed = parse_signature(b"\0\x18\0\x0b" + sized(b"\1\0") + sized(b"\2"))
    assert parsed == EcdsaSignature(
        scheme=SignatureScheme.ECDSA, hash_algorithm=HashAlgorithm.SHA256, r=256, s=2
    )


@pytest.mark.parametrize("algorithm", [0x0000, 0x0005, 0x0010, 0x001A, 0xFFFF])
def test_other_signature_schemes_are_malformed(algorithm: int) -> None:
    with pytest.raises(FormatError) as caught:
        parse_signature(algorithm.to_bytes(2, "big") + b"\0\x0b" + sized(b"x"))
    assert caught.value.code is Code.QUOTE_MALFORMED


@pytest.mark.parametrize("ak", [SoftwareAk.make_ecc(), SoftwareAk.make_rsa()], ids=["ecc", "rsa"])
def test_signatures_are_read_to_their_last_byte(ak: SoftwareAk) -> None:
    scheme = SignatureScheme.RSASSA if "RSA" in type(ak.key).__name__ else SignatureScheme.ECDSA
    signature = ak.sign(b"x", (scheme, HashAlgorithm.SHA256))
    parse_signature(signature)
    for size in range(len(signature)):
        with pytest.raises(FormatError) as caught:
            parse_signature(signature[:size])
        assert caught.value.code is Code.QUOTE_MALFORMED
    with pytest.raises(FormatError) as caught:
        parse_signature(signature + b"\0")
    assert caught.value.code is Code.QUOTE_TRAILING_BYTES
