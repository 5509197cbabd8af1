from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from os_image.guest.certificate import cut_certificate, der_size, split_certificates
from os_image.guest.errors import CertificateError

if TYPE_CHECKING:
    from pathlib import Path

SHORT = b"\x30\x03abc"
LONG = b"\x30\x82\x01\x00" + bytes(range(256))


def sequence(body: bytes) -> bytes:
    size = len(body)
    length = bytes([size]) if size < 128 else _long(size)
    return b"\x30" + length + body


def _long(size: int) -> bytes:
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([128 + len(digits)]) + digits


@given(st.binary(max_size=5000), st.integers(min_value=0, max_value=4096))
def test_padding_is_cut_and_nothing_else(body: bytes, padding: int) -> None:
    certificate = sequence(body)
    assert cut_certificate(certificate + bytes(padding)) == certificate


@given(st.lists(st.binary(max_size=300), max_size=5), st.integers(min_value=0, max_value=64))
def test_certificates_in_a_row_come_back(bodies: list[bytes], padding: int) -> None:
    row = [sequence(body) for body in bodies]
    assert split_certificates(b"".join(row) + bytes(padding)) == tuple(row)


def test_the_real_index_of_a_trusted_launch_machine(checkout: Path) -> None:
    folder = checkout.parent / "shared/data/azure/trusted-launch-2026"
    if not folder.is_dir():
        pytest.skip("the real documents are not beside the checkout")
    data = (folder / "tl-2026-07-27-akcert_0x01C101D0.der").read_bytes()
    certificate = cut_certificate(data.ljust(4096, b"\0"))
    assert der_size(data) == len(certificate) == len(data.rstrip(b"\0"))
    assert x509.load_der_x509_certificate(certificate).subject is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(64),
        b"\x30",
        b"\x31\x03abc",  # a SET
        b"\x30\x80abc\0\0",  # indefinite length
        b"\x30\x81\x03abc",  # a length that is not minimal
        b"\x30\x82\x00\x81" + bytes(129),  # likewise, with a leading zero
        b"\x30\x84\x00\x00\x01\x00" + bytes(256),  # more length bytes than an index can need
        b"\x30\x82\x01",  # ends within its length
        LONG[:-1],
        SHORT + b"x",
        SHORT + bytes(4) + b"x",
        SHORT + SHORT,
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateError) as caught:
        cut_certificate(data)
    assert caught.value.code == "guest.certificate"


@given(st.binary(max_size=64))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    try:
        certificates = split_certificates(data)
    except CertificateError:
        return
    assert data.startswith(b"".join(certificates))
