"""Evidence as a guest sends it, before anything about it is verified."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from deploy.qemu import vm

TIMEOUT_S = 60
_POLL_S = 2.0
"""Short: the forwarder accepts at once and then waits for a guest that does not listen yet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """One exchange of evidence."""

    document: bytes
    """The body of the answer."""
    spki: bytes
    """The public key of the TLS peer that sent it, DER."""


def claimed_evidence(url: str, nonce: bytes, *, timeout_s: float = TIMEOUT_S) -> Claimed:
    """Ask a guest for evidence over a connection to whoever answers there."""
    with opened(url, timeout_s=timeout_s) as connection:
        return ask_evidence(connection, nonce)


@contextlib.contextmanager
def opened(url: str, *, timeout_s: float = TIMEOUT_S) -> Iterator[http.client.HTTPSConnection]:
    """A connection to whoever answers there; nothing is asked yet."""
    connection = _connection(url, timeout_s)
    try:
        connection.connect()
        yield connection
    finally:
        connection.close()


def ask_evidence(connection: http.client.HTTPSConnection, nonce: bytes) -> Claimed:
    """Ask for evidence over a connection that is open."""
    assert isinstance(connection.sock, ssl.SSLSocket)
    leaf = connection.sock.getpeercert(binary_form=True)
    assert leaf is not None
    body = json.dumps({"nonce": base64.b64encode(nonce).decode()})
    connection.request(
        "POST", "/attestation", body=body, headers={"content-type": "application/json"}
    )
    answer = connection.getresponse()
    assert answer.status == http.client.OK, answer.status
    document = answer.read()
    key = x509.load_der_x509_certificate(leaf).public_key()
    return Claimed(
        document=document,
        spki=key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )


def attests(guest: vm.Guest) -> bool:
    """Whether a guest gives evidence, which it does before its application runs."""
    try:
        claimed_evidence(guest.url, bytes(32), timeout_s=_POLL_S)
    except (OSError, http.client.HTTPException, AssertionError):
        # Nobody listens yet, or the TPM is not open yet.
        return False
    return True


def registers(url: str) -> tuple[bytes, ...]:
    """What a guest says its registers are, 0 to 15."""
    document = json.loads(claimed_evidence(url, bytes(32)).document)
    return tuple(bytes.fromhex(value) for value in document["pcrs"]["sha256"])


def page(url: str, path: str, *, timeout_s: float = TIMEOUT_S) -> str:
    """Ask whoever answers there for a page of its application."""
    connection = _connection(url, timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        assert answer.status == http.client.OK, answer.status
        return answer.read().decode()
    finally:
        connection.close()


def _connection(url: str, timeout_s: float) -> http.client.HTTPSConnection:
    target = urlsplit(url)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(
        str(target.hostname), target.port, timeout=timeout_s, context=context
    )
