from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from blindllama._tpm.quote import AkPublicKey, ExpectedQuote, VerifiedQuote, verify_quote
from blindllama._tpm.structures import HashAlgorithm, SignatureScheme
from blindllama.errors import (
    Code,
    FormatError,
    FreshnessError,
    QuoteError,
    UsageError,
    VerificationError,
)
from tests.simulators.software_ak import SoftwareAk, Statement, bitmap

DATA = bytes(range(32))
SIXTEEN = frozenset(range(16))
VALUES = {pcr: hashlib.sha256(bytes([pcr])).digest() for pcr in range(24)}
RSASSA = (SignatureScheme.RSASSA, HashAlgorithm.SHA256)
RSAPSS = (SignatureScheme.RSAPSS, HashAlgorithm.SHA256)
ECDSA = (SignatureScheme.ECDSA, HashAlgorithm.SHA256)
RSASSA_384 = (SignatureScheme.RSASSA, HashAlgorithm.SHA384)
ECDSA_384 = (SignatureScheme.ECDSA, HashAlgorithm.SHA384)
ALL = frozenset({RSASSA, RSAPSS, ECDSA, RSASSA_384, ECDSA_384})
AK = SoftwareAk.make_rsa()


def digest(indices: frozenset[int] = SIXTEEN, algorithm: str = "sha256") -> bytes:
    return hashlib.new(algorithm, b"".join(VALUES[pcr] for pcr in sorted(indices))).digest()


GENUINE = Statement(qualifying_data=DATA, pcr_digest=digest())


def expect(**changes: object) -> ExpectedQuote:
    fields: dict[str, object] = {"qualifying_data": DATA, "selection": SIXTEEN, "schemes": ALL}
    return ExpectedQuote(**(fields | changes))  # type: ignore[arg-type]


def check(
    statement: Statement = GENUINE,
    *,
    ak: SoftwareAk = AK,
    scheme: tuple[SignatureScheme, HashAlgorithm] = RSASSA,
    key: AkPublicKey | None = None,
    claimed: Mapping[int, bytes] = VALUES,
    expected: ExpectedQuote | None = None,
) -> VerifiedQuote:
    attest = statement.marshal()
    return verify_quote(
        attest=attest,
        signature=ak.sign(attest, scheme),
        key=ak.public_key if key is None else key,
        claimed=claimed,
        expected=expect() if expected is None else expected,
    )


def refused(code: Code, kind: type[VerificationError] = QuoteError, **case: object) -> None:
    with pytest.raises(kind) as caught:
        check(**case)  # type: ignore[arg-type]
    assert caught.value.code is code
    assert caught.value.step == 8


def test_the_key_must_have_one_of_the_names() -> None:
    name = b"\x00\x0b" + bytes(32)  # what the simulated key's statements say
    assert check(expected=expect(signers=frozenset({b"other", name}))).qualified_signer == name
    refused(Code.QUOTE_SIGNER, expected=expect(signers=frozenset({name[:-1], bytes(34)})))
    with pytest.raises(UsageError):
        expect(signers=frozenset())


def test_returns_what_was_signed() -> None:
    verified = check()
    assert verified.values == {pcr: VALUES[pcr] for pcr in range(16)}
    assert verified.qualifying_data == DATA
    assert verified.clock.reset_count == 7


@pytest.mark.parametrize(
    ("ak", "scheme", "algorithm"),
    [
        (AK, RSAPSS, "sha256"),
        (AK, RSASSA_384, "sha384"),
        (SoftwareAk.make_ecc(), ECDSA, "sha256"),
        (SoftwareAk.make_ecc(ec.SECP384R1()), ECDSA_384, "sha384"),
    ],
    ids=["rsapss", "rsassa-384", "ecdsa-256", "ecdsa-384"],
)
def test_accepts_each_scheme_that_is_allowed(
    ak: SoftwareAk, scheme: tuple[SignatureScheme, HashAlgorithm], algorithm: str
) -> None:
    # The digest over the registers is made with the hash of the signature scheme.
    statement = replace(GENUINE, pcr_digest=digest(algorithm=algorithm))
    assert check(statement, ak=ak, scheme=scheme).qualifying_data == DATA


@pytest.mark.parametrize("size", [0, 16, 31, 33, 64])
def test_expected_qualifying_data_has_32_bytes(size: int) -> None:
    with pytest.raises(UsageError):
        expect(qualifying_data=bytes(size))


@pytest.mark.parametrize("selection", [frozenset(), frozenset({24}), frozenset({-1})])
def test_expected_selection_is_possible(selection: frozenset[int]) -> None:
    with pytest.raises(UsageError):
        expect(selection=selection)


def test_some_scheme_must_be_expected() -> None:
    with pytest.raises(UsageError):
        expect(schemes=frozenset())


@pytest.mark.parametrize("magic", [0, 0xFF544346, 0x474354FF])
def test_q2_magic(magic: int) -> None:
    refused(Code.QUOTE_MAGIC, statement=replace(GENUINE, magic=magic))


@pytest.mark.parametrize("kind", [0x8014, 0x8015, 0x8016, 0x8017, 0x8019, 0x801A, 0x801C, 0])
def test_q2_type(kind: int) -> None:
    refused(Code.QUOTE_TYPE, statement=replace(GENUINE, type=kind))


@pytest.mark.parametrize("data", [b"", DATA[:31], DATA[:16], DATA + b"\0", bytes(32)])
def test_q3_qualifying_data(data: bytes) -> None:
    refused(Code.QUOTE_NONCE, FreshnessError, statement=replace(GENUINE, qualifying_data=data))


@pytest.mark.parametrize(
    "selections",
    [
        pytest.param((), id="none"),
        pytest.param(((11, bitmap(range(15))),), id="subset"),
        pytest.param(((11, bitmap(range(17))),), id="superset"),
        pytest.param(((11, bitmap(range(1, 17))),), id="shifted"),
        pytest.param(((11, b""),), id="empty bitmap"),
        pytest.param(((11, bitmap(range(16), 2)),), id="two octets"),
        pytest.param(((11, bitmap(range(16), 4)),), id="four octets"),
        pytest.param(((4, bitmap(range(16))),), id="SHA-1"),
        pytest.param(((12, bitmap(range(16))),), id="SHA-384"),
        pytest.param(((11, bitmap(range(16))),) * 2, id="the bank twice"),
        pytest.param(((11, bitmap(range(8))), (11, bitmap(range(8, 16)))), id="two halves"),
        pytest.param(((11, bitmap(range(16))), (4, bitmap([]))), id="an empty SHA-1 bank"),
    ],
)
def test_q1_selection(selections: tuple[tuple[int, bytes], ...]) -> None:
    refused(Code.QUOTE_SELECTION, statement=replace(GENUINE, selections=selections))


def test_q1_selection_of_the_policy_decides() -> None:
    some = frozenset({0, 4, 11})
    statement = replace(GENUINE, selections=((11, bitmap(sorted(some))),), pcr_digest=digest(some))
    assert set(check(statement, expected=expect(selection=some)).values) == some
    refused(Code.QUOTE_SELECTION, statement=statement)


def test_q5_a_register_that_was_not_quoted() -> None:
    refused(Code.QUOTE_PCR_DIGEST, claimed={**VALUES, 15: bytes(32)})


def test_q5_a_register_without_a_value() -> None:
    refused(Code.QUOTE_PCR_DIGEST, claimed={pcr: VALUES[pcr] for pcr in range(15)})


def test_q5_bytes_moved_between_registers() -> None:
    # The same concatenation, cut at another place.
    moved = {**VALUES, 0: VALUES[0] + VALUES[1][:1], 1: VALUES[1][1:]}
    refused(Code.QUOTE_PCR_DIGEST, claimed=moved)


def test_q5_swapped_registers() -> None:
    refused(Code.QUOTE_PCR_DIGEST, claimed={**VALUES, 0: VALUES[1], 1: VALUES[0]})


def test_q4_another_key() -> None:
    refused(Code.QUOTE_SIGNATURE, key=SoftwareAk.make_rsa().public_key)


def test_q4_trailing_bytes_even_when_they_are_signed() -> None:
    refused(Code.QUOTE_TRAILING_BYTES, FormatError, statement=replace(GENUINE, after=b"\0"))


@pytest.mark.parametrize("scheme", [RSASSA, RSAPSS])
def test_q4_key_and_scheme_are_of_one_kind(
    scheme: tuple[SignatureScheme, HashAlgorithm],
) -> None:
    refused(Code.QUOTE_SCHEME, scheme=scheme, key=SoftwareAk.make_ecc().public_key)
    refused(Code.QUOTE_SCHEME, ak=SoftwareAk.make_ecc(), scheme=ECDSA, key=AK.public_key)


def test_q4_only_the_schemes_of_the_platform() -> None:
    refused(Code.QUOTE_SCHEME, scheme=RSAPSS, expected=expect(schemes=frozenset({RSASSA})))
    refused(Code.QUOTE_SCHEME, scheme=RSASSA_384, expected=expect(schemes=frozenset({RSASSA})))


def test_q4_a_scheme_with_a_hash_that_is_never_allowed() -> None:
    weak = frozenset({(SignatureScheme.RSASSA, HashAlgorithm.SHA1)})
    attest = GENUINE.marshal()
    signature = AK.sign(attest)
    called_sha1 = signature[:2] + b"\0\x04" + signature[4:]
    with pytest.raises(QuoteError) as caught:
        verify_quote(
            attest=attest,
            signature=called_sha1,
            key=AK.public_key,
            claimed=VALUES,
            expected=expect(schemes=weak),
        )
    assert caught.value.code is Code.QUOTE_SCHEME


def test_q4_rsa_keys_have_at_least_2048_bits() -> None:
    refused(Code.QUOTE_SCHEME, ak=SoftwareAk.make_rsa(1024))


def test_q4_curves_are_p256_and_p384() -> None:
    refused(Code.QUOTE_SCHEME, ak=SoftwareAk.make_ecc(ec.SECP521R1()), scheme=ECDSA)


def test_every_flipped_bit_of_the_statement_is_refused() -> None:
    attest = GENUINE.marshal()
    signature = AK.sign(attest)
    for position in range(len(attest)):
        flipped = attest[:position] + bytes([attest[position] ^ 0x10]) + attest[position + 1 :]
        with pytest.raises(QuoteError) as caught:
            verify_quote(
                attest=flipped,
                signature=signature,
                key=AK.public_key,
                claimed=VALUES,
                expected=expect(),
            )
        assert caught.value.code is Code.QUOTE_SIGNATURE
