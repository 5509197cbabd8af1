from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blindllama.errors import UsageError
from blindllama.pcr import PCR_COUNT, ZERO, PcrBank, extend, parse_pcr_index, replay

DIGESTS = st.binary(min_size=32, max_size=32)


def test_extend_is_the_hash_of_both() -> None:
    digest = hashlib.sha256(b"event").digest()
    assert extend(ZERO, digest) == hashlib.sha256(bytes(32) + digest).digest()


def test_extend_of_the_separator_is_the_known_value() -> None:
    # What every PC shows in a PCR that only the firmware's separator (four zero bytes) went into.
    separator = hashlib.sha256(bytes(4)).digest()
    assert extend(ZERO, separator).hex() == (
        "3d458cfe55cc03ea1f443f1562beec8df51c75e14a9fcf9a7234a13f198e7969"
    )


@given(st.lists(DIGESTS, max_size=8), DIGESTS)
def test_replay_is_extend_in_order(digests: list[bytes], start: bytes) -> None:
    value = start
    for digest in digests:
        value = extend(value, digest)
    assert replay(digests, start=start) == value


def test_replay_of_nothing_is_the_start() -> None:
    assert replay([]) == ZERO


@given(DIGESTS, DIGESTS)
def test_order_matters(one: bytes, other: bytes) -> None:
    assert (replay([one, other]) == replay([other, one])) == (one == other)


@pytest.mark.parametrize("size", [0, 20, 31, 33, 48])
def test_extend_refuses_other_sizes(size: int) -> None:
    with pytest.raises(UsageError):
        extend(ZERO, bytes(size))
    with pytest.raises(UsageError):
        extend(bytes(size), ZERO)


@pytest.mark.parametrize("index", range(PCR_COUNT))
def test_index_is_read(index: int) -> None:
    assert parse_pcr_index(str(index)) == index


@pytest.mark.parametrize("text", ["", "24", "99", "-1", "+1", "01", " 1", "1 ", "1\n", "٣", "x"])
def test_index_has_one_spelling(text: str) -> None:
    with pytest.raises(ValueError, match="PCR index"):
        parse_pcr_index(text)


def test_only_sha256_is_a_bank() -> None:
    assert [bank.value for bank in PcrBank] == ["sha256"]
    assert PcrBank.SHA256.size_bytes == 32
