"""Certificates as the TPM stores them: cut to size, never interpreted.

An index has a fixed size and a certificate has not, so what is read may end in zeros (Azure's is
padded to 4096 bytes). The caller's side parses the certificate; here it is only found.

Source: ITU-T X.690, section 8.1.3 (definite lengths); TCG EK Credential Profile 2.5, section 2.2.
"""

from os_image.guest.errors import CertificateError

_SEQUENCE = 0x30
_LONG_FORM = 0x80
_MAXIMUM_LENGTH_BYTES = 3
"""Sixteen mebibytes: no index is larger."""


def der_size(data: bytes) -> int:
    """The number of bytes of the DER SEQUENCE that `data` starts with, header included.

    Raises:
        CertificateError: There is none, its length is not minimal, or it is longer than `data`.
    """
    if len(data) < 2 or data[0] != _SEQUENCE:
        raise CertificateError("certificate: expected a DER SEQUENCE, got something else")
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
