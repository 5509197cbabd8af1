"""Certificates as the TPM stores them: cut to size, and whose they are; nothing else is read.

An index has a fixed size and a certificate has not, so what is read may end in zeros (Azure's is
padded to 4096 bytes). The caller's side checks the certificate; here it is only found.

Source: ITU-T X.690, section 8.1.3 (definite lengths); TCG EK Credential Profile 2.5, section 2.2;
RFC 5280, section 4.1 (TBSCertificate).
"""

from dataclasses import dataclass

from os_image.guest.errors import CertificateError

_SEQUENCE = 0x30
_INTEGER = 0x02
_VERSION = 0xA0
"""The explicit tag 0 around a certificate's version."""
_LONG_FORM = 0x80
_MAXIMUM_LENGTH_BYTES = 3
"""Sixteen mebibytes: no index is larger."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """Who issued a certificate, and whose it is: DER of each Name, to compare byte by byte."""

    issuer: bytes
    subject: bytes


def names(certificate: bytes) -> Names:
    """The issuer and the subject of a DER certificate.

    Raises:
        CertificateError: It is none.
    """
    body = _content(_content(certificate, _SEQUENCE), _SEQUENCE)
    if body[:1] == bytes([_VERSION]):
        body = body[_size(body, _VERSION) :]
    fields = []
    for tag in (_INTEGER, _SEQUENCE, _SEQUENCE, _SEQUENCE, _SEQUENCE):
        size = _size(body, tag)
        fields.append(body[:size])
        body = body[size:]
    _serial, _algorithm, issuer, _validity, subject = fields
    return Names(issuer=issuer, subject=subject)


def der_size(data: bytes) -> int:
    """The number of bytes of the DER SEQUENCE that `data` starts with, header included.

    Raises:
        CertificateError: There is none, its length is not minimal, or it is longer than `data`.
    """
    return _size(data, _SEQUENCE)


def _content(data: bytes, tag: int) -> bytes:
    """What is inside the element that `data` starts with."""
    size = _size(data, tag)
    head = 2 if data[1] < _LONG_FORM else 2 + data[1] - _LONG_FORM
    return data[head:size]


def _size(data: bytes, tag: int) -> int:
    if len(data) < 2 or data[0] != tag:
        raise CertificateError(f"certificate: expected DER with tag {tag:#04x}, got something else")
    first = data[1]
    if first < _LONG_FORM:
        size = 2 + first
    else:
        count = first - _LONG_FORM
        body = data[2 : 2 + count]
        length = int.from_bytes(body, "big")
        if not 1 <= count <= _MAXIMUM_LENGTH_BYTES or len(body) != count:
            raise CertificateError("certificate: expected a definite DER length, got another form")
        if length < _LONG_FORM or body[0] == 0:
            raise CertificateError("certificate: expected a minimal DER length, got a longer one")
        size = 2 + count + length
    if size > len(data):
        raise CertificateError(f"certificate: expected {size} bytes, got {len(data)}")
    return size


def cut_certificate(data: bytes) -> bytes:
    """The DER certificate that `data` holds, without the padding behind it.

    Raises:
        CertificateError: It does not start with one, or what follows is anything but zeros.
    """
    certificates = split_certificates(data)
    if len(certificates) != 1:
        raise CertificateError(f"certificate: expected one, got {len(certificates)}")
    return certificates[0]


def split_certificates(data: bytes) -> tuple[bytes, ...]:
    """The DER certificates that stand one after another in `data`, without the padding behind them.

    Raises:
        CertificateError: Something else than certificates and zeros is there.
    """
    found = []
    while data.strip(b"\0"):
        size = der_size(data)
        found.append(data[:size])
        data = data[size:]
    return tuple(found)
