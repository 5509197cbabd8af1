"""Who issued the certificate of the attestation key, as far as the image knows.

Azure's TPM holds the certificate and none of its issuers, and the guest asks nobody. So the
image brings those that are known, in a folder of its measured file system. They are no trust:
the caller trusts a root by its fingerprint and checks every signature. Here, certificates are put
in a row by their names and nothing else is read in them.

Source: RFC 5280, section 4.1 (TBSCertificate).
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from os_image.guest.certificate import der_size, names
from os_image.guest.errors import CertificateError

ISSUERS = Path("/usr/lib/blindllama/ak-issuers")
"""One PEM file for each issuer, the root among them."""

_MOST_ISSUERS = 4
"""A root and three intermediates: more, no caller accepts."""
_BEGIN, _END = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"


def read_issuers(folder: Path) -> tuple[bytes, ...]:
    """The certificates of the folder, DER, in the order of their files' names; none without it.

    Raises:
        CertificateError: A file is not one PEM certificate.
    """
    if not folder.is_dir():
        return ()
    return tuple(_from_pem(path) for path in sorted(folder.glob("*.pem")))


def issuers_of(certificate: bytes, known: Sequence[bytes]) -> tuple[bytes, ...]:
    """The issuer of `certificate`, that one's issuer, and so on, as far as `known` goes.

    The row ends with a certificate that names itself as its issuer, or where none is known.

    Raises:
        CertificateError: One of them is not a certificate.
    """
    by_subject = _by_subject(known)
    row: list[bytes] = []
    current = names(certificate)
    while current.issuer != current.subject and len(row) < _MOST_ISSUERS:
        issuer = by_subject.get(current.issuer)
        if issuer is None:
            break
        row.append(issuer)
        current = names(issuer)
    return tuple(row)


def _by_subject(known: Sequence[bytes]) -> Mapping[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    for der in known:
        found.setdefault(names(der).subject, der)
    return MappingProxyType(found)


def _from_pem(path: Path) -> bytes:
    try:
        lines = path.read_text("ascii").split("\n")
        first, last = lines.index(_BEGIN), lines.index(_END)
        der = base64.b64decode("".join(lines[first + 1 : last]), validate=True)
    except (ValueError, binascii.Error) as error:
        raise CertificateError(f"{path}: expected one PEM certificate, got another form") from error
    if der_size(der) != len(der):
        raise CertificateError(f"{path}: expected one DER certificate, got bytes behind it")
    return der
