"""RFC 3161 stamps, where the library that verifies them does not look: versions, signer, algorithm.

The signature in a stamp covers its content and the signer's signed attributes, and the certificate
that signs is among those. What stands around them is covered by nothing, and rfc3161-client reads
it loosely or not at all. Here it must be what RFC 5652 says, byte for byte, so that a genuine stamp
is one document.

Source: RFC 3161, section 2.4.2; RFC 5652, sections 5.1 and 5.3; RFC 5754 and RFC 8419 for which
digest goes with which signature; X.690 for DER.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["check_stamp"]

_INTEGER, _OID, _SEQUENCE, _SET = 0x02, 0x06, 0x30, 0x31
_CONTEXT_0, _CONTEXT_1 = 0xA0, 0xA1
_LONGEST_LENGTH = 4
_DATA_VERSION, _SIGNER_VERSION = b"\x03", b"\x01"
"""RFC 5652: 3, since the content is no plain data; 1, since the signer is named by issuer."""

_SHA256, _SHA384, _SHA512 = (bytes.fromhex(f"60864801650304020{number}") for number in (1, 2, 3))
_RSA = bytes.fromhex("2a864886f70d010101")
"""rsaEncryption, which signers write with any digest."""
_ED25519 = bytes.fromhex("2b6570")
_GOES_WITH: Mapping[bytes, frozenset[bytes]] = {
    _SHA256: frozenset(
        {bytes.fromhex("2a8648ce3d040302"), bytes.fromhex("2a864886f70d01010b"), _RSA}
    ),
    _SHA384: frozenset(
        {bytes.fromhex("2a8648ce3d040303"), bytes.fromhex("2a864886f70d01010c"), _RSA}
    ),
    _SHA512: frozenset(
        {
            bytes.fromhex("2a8648ce3d040304"),
            bytes.fromhex("2a864886f70d01010d"),
            _RSA,
            _ED25519,
        }
    ),
}
"""Digest algorithm to the signature algorithms with it: ECDSA, RSA, Ed25519."""


@dataclass(frozen=True, slots=True)
class _Part:
    tag: int
    content: bytes


def check_stamp(response: bytes, authorities: Iterable[bytes]) -> None:
    """Refuse a stamp that says something else where nobody looks.

    Args:
        response: The stamp, a `TimeStampResp` in DER that the library has verified.
        authorities: Certificates (DER) that may have signed it, besides those inside of it.

    Raises:
        ValueError: it does; the text says what was expected.
    """
    status, token = _parts(_only(response).content)
    _expect([part.content for part in _parts(status.content)] == [b"\x00"], "nothing but granted")
    _, wrapped = _parts(token.content)
    version, algorithms, _, *certificates, signers = _parts(_only(wrapped.content).content)
    _expect(version == _Part(_INTEGER, _DATA_VERSION), "version 3 of signed data")
    # version, sid, digestAlgorithm, signedAttrs, signatureAlgorithm, signature; nothing unsigned
    number, name, digest, attributes, algorithm, _ = _parts(_only(signers.content).content)
    _expect(number == _Part(_INTEGER, _SIGNER_VERSION), "version 1 of a signer")
    _expect(attributes.tag == _CONTEXT_0, "signed attributes")
    _expect(_only(algorithms.content) == digest, "the signer's digest algorithm and no other")
    _expect(
        _algorithm(algorithm) in _GOES_WITH.get(_algorithm(digest), frozenset()),
        "a signature algorithm with its own digest",
    )
    inside = [part for group in certificates for part in _certificates(group)]
    known = [*inside, *(_only(authority) for authority in authorities)]
    _expect(name in [_signer_name(certificate) for certificate in known], "the authority's name")


def _certificates(group: _Part) -> list[_Part]:
    _expect(group.tag == _CONTEXT_0, "certificates and no revocation lists")
    return list(_parts(group.content))


def _signer_name(certificate: _Part) -> _Part:
    """Return issuer and serial number of a certificate, as a signer is named by them."""
    first, *rest = _parts(_first(certificate.content).content)
    serial, _, issuer, *_ = rest if first.tag == _CONTEXT_0 else [first, *rest]
    return _Part(_SEQUENCE, _encoded(issuer) + _encoded(serial))


def _algorithm(part: _Part) -> bytes:
    oid = _first(part.content)
    _expect((part.tag, oid.tag) == (_SEQUENCE, _OID), "an algorithm")
    return oid.content


def _first(data: bytes) -> _Part:
    part, _ = _part(data)
    return part


def _only(data: bytes) -> _Part:
    """Return the one value that the bytes are."""
    (part,) = _parts(data)
    return part


def _parts(data: bytes) -> Iterator[_Part]:
    """Yield each value in a row of DER values.

    Raises:
        ValueError: they are none, or of an encoding that DER does not have.
    """
    position = 0
    while position < len(data):
        part, size = _part(data[position:])
        yield part
        position += size


def _part(data: bytes) -> tuple[_Part, int]:
    head = 2
    _expect(len(data) >= head, "a tag and a length")
    length = data[1]
    if length & 0x80:
        head += length & 0x7F
        length = int.from_bytes(data[2:head], "big")
        _expect(head <= 2 + _LONGEST_LENGTH, "a length in up to four bytes")
    part = _Part(data[0], data[head : head + length])
    _expect(data[: head + length] == _encoded(part), "the shortest form of a length")
    return part, head + length


def _encoded(part: _Part) -> bytes:
    size = len(part.content)
    if size < 0x80:
        return bytes([part.tag, size]) + part.content
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([part.tag, 0x80 | len(length)]) + length + part.content


def _expect(holds: bool, what: str) -> None:  # noqa: FBT001 - the condition itself
    if not holds:
        raise ValueError(f"expected {what}")
