"""Issuers of Azure's attestation keys: those in the image, and more by following addresses.

A certificate may say where its issuer's certificate is published (AIA). The guest asks nobody, so
these addresses are followed before it is built, and what they give is kept as files of the image.
The walk ends at a certificate that is a file already, the root at the latest; each issuer must
have signed the one below it, so it does not matter who answers at an address.

Microsoft publishes `Global Virtual TPM CA - 03` nowhere else than in a page of its documents
(Trusted Launch, questions and answers); the root is published under the address that other
certificates name.

Source: RFC 5280, section 4.2.2.1 (authority information access, caIssuers).
"""

from __future__ import annotations

import base64
import json
import re
from typing import TYPE_CHECKING, ClassVar, Final
from urllib.parse import urlsplit

import requests
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AuthorityInformationAccessOID, NameOID

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

FOLDER = "os_image/guest/files/usr/lib/blindllama/ak-issuers"
"""Where they are in the repository; the guest's code names the same folder of the image."""

_MOST_ISSUERS: Final = 4
_LIMIT_BYTES: Final = 1 << 14
_TIMEOUT_S: Final = (10.0, 30.0)
_UNREADABLE = (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension)


class IssuerError(BuildError):
    """A row of issuers cannot be completed, or a file holds no certificate."""

    code: ClassVar[str] = "os_image.issuers"


def read_issuers(folder: Path) -> tuple[x509.Certificate, ...]:
    """Return the certificates of the folder, one for each PEM file, in the order of their names.

    Raises:
        IssuerError: A file is none, or two are of the same subject: the guest goes by subjects.
    """
    found: dict[x509.Name, Path] = {}
    certificates = []
    for path in sorted(folder.glob("*.pem")):
        certificate = certificate_in(path.read_bytes(), str(path))
        other = found.setdefault(certificate.subject, path)
        if other != path:
            raise IssuerError(f"{path}: expected another subject than {other.name}; remove one")
        certificates.append(certificate)
    return tuple(certificates)


def certificate_in(data: bytes, what: str) -> x509.Certificate:
    """Return the certificate in PEM, in DER, or in a guest's evidence (its attestation key's).

    Raises:
        IssuerError: There is none.
    """
    try:
        if data[:1] == b"{":
            data = base64.b64decode(json.loads(data)["ak"]["certificate"], validate=True)
        if data.lstrip()[:5] == b"-----":
            return x509.load_pem_x509_certificate(data)
        return x509.load_der_x509_certificate(data)
    except (*_UNREADABLE, KeyError) as exc:
        raise IssuerError(
            f"{what}: expected a certificate in PEM or DER, or a guest's evidence; got neither"
        ) from exc


def missing_issuers(
    certificate: x509.Certificate,
    known: Sequence[x509.Certificate],
    fetch: Callable[[str], bytes],
) -> tuple[x509.Certificate, ...]:
    """Return the issuers between a certificate and the first known one, lowest first.

    Args:
        certificate: Of an attestation key, or of one of its issuers.
        known: What the image has; a root among them.
        fetch: Gives what is published at an address.

    Raises:
        IssuerError: A certificate without addresses, none of which gives its issuer, or a root
            that is not known.
    """
    new: list[x509.Certificate] = []
    current = certificate
    for _ in range(_MOST_ISSUERS + 1):
        issuer = next((one for one in known if _issued(current, one)), None)
        if issuer is None and _issued(current, current):
            raise IssuerError(
                f"{_name(current)}: expected a root that is among the files; "
                "got another, which nobody would trust"
            )
        if issuer is None:
            issuer = _published_issuer(current, fetch)
            new.append(issuer)
        elif _issued(issuer, issuer):
            return tuple(new)
        current = issuer
    raise IssuerError(f"{_name(certificate)}: expected at most {_MOST_ISSUERS} issuers, got more")


def write_issuers(folder: Path, issuers: Sequence[x509.Certificate]) -> tuple[Path, ...]:
    """Write a PEM file for each certificate, named after its subject, and return their paths."""
    paths = []
    for issuer in issuers:
        slug = re.sub(r"[^a-z0-9]+", "-", _name(issuer).lower()).strip("-")
        path, aside = folder / f"{slug}.pem", folder / f".{slug}"
        aside.write_bytes(issuer.public_bytes(Encoding.PEM))
        aside.replace(path)
        paths.append(path)
    return tuple(paths)


def fetch_published(url: str) -> bytes:
    """Return what is published at an address, 16 KiB at most.

    Raises:
        IssuerError: It cannot be had.
    """
    if urlsplit(url).scheme not in {"http", "https"}:
        raise IssuerError(f"{url}: expected http or https")
    try:
        with requests.get(url, timeout=_TIMEOUT_S, stream=True, allow_redirects=False) as answer:
            if answer.status_code != requests.codes.ok:
                raise IssuerError(f"{url}: expected a certificate, got status {answer.status_code}")
            data = answer.raw.read(_LIMIT_BYTES + 1, decode_content=False)
    except requests.RequestException as exc:
        raise IssuerError(f"{url}: cannot be reached ({type(exc).__name__})") from exc
    if len(data) > _LIMIT_BYTES:
        raise IssuerError(f"{url}: expected at most {_LIMIT_BYTES} bytes, got more")
    return bytes(data)


def _published_issuer(
    certificate: x509.Certificate, fetch: Callable[[str], bytes]
) -> x509.Certificate:
    failures = []
    for url in _addresses(certificate):
        try:
            issuer = certificate_in(fetch(url), url)
        except IssuerError as exc:
            failures.append(str(exc))
            continue
        if _issued(certificate, issuer):
            return issuer
        failures.append(f"{url}: gives {_name(issuer)}, which did not issue it")
    raise IssuerError(
        f"{_name(certificate)}: its issuer, {certificate.issuer.rfc4514_string()}, is neither "
        f"among the files nor at an address in the certificate; look for it in Microsoft's "
        f"documents and put it into {FOLDER} ({'; '.join(failures) or 'it has no address'})"
    )


def _addresses(certificate: x509.Certificate) -> Iterator[str]:
    try:
        access = certificate.extensions.get_extension_for_class(x509.AuthorityInformationAccess)
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return
    for one in access.value:
        is_issuer = one.access_method == AuthorityInformationAccessOID.CA_ISSUERS
        if is_issuer and isinstance(one.access_location, x509.UniformResourceIdentifier):
            yield one.access_location.value


def _issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (InvalidSignature, *_UNREADABLE):
        return False
    return True


def _name(certificate: x509.Certificate) -> str:
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if names else certificate.subject.rfc4514_string() or "no name"
