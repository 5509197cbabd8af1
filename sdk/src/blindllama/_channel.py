"""Step 10: TLS 1.3 to one origin, and the evidence asked for on the very connection it is about.

Certificates are not looked at: what counts is the peer's public key, because that is what a quote
names. TLS 1.3 makes the peer prove that it holds the private key, whatever the certificate says.
Nothing of the environment is read: no proxy, no bundle of roots, no key log.

Source: RFC 8446, section 4.4.3 (the proof of possession).
"""

from __future__ import annotations

import base64
import http.client
import json
import ssl
import time
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from urllib3.util.wait import wait_for_read

from blindllama._status import BUSY, busy
from blindllama._timed_socket import TimedSocket, TooManyBytesError
from blindllama.errors import ChannelBindingError, Code, FormatError, NetworkError, UsageError
from blindllama.evidence import EVIDENCE_LIMIT_BYTES

__all__ = [
    "DisconnectedError",
    "Origin",
    "parse_address",
    "parse_origin",
    "peer_spki",
    "request_evidence",
    "tls_context",
]

_STEP_EVIDENCE = 6
_STEP_CHANNEL = 10
_DEFAULT_PORT = 443
_PATH: Final = "/attestation"
_PIECE_BYTES: Final = 1 << 16
_ANSWER_LIMIT_BYTES: Final = 2 * EVIDENCE_LIMIT_BYTES
"""Most bytes of a whole answer. The body has its own limit, but `http.client` takes heads without
end, and reads all that comes after a chunk of negative size."""
_LATER: Final = frozenset({408, 425, 500, 502, 504})
"""Answers that say nothing about the guest but "not now"."""


class DisconnectedError(NetworkError):
    """The server closed the connection instead of answering; another one may do better."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """One HTTPS server: all that an attested session ever talks to."""

    host: str
    """Lower case; an IPv6 address is without its brackets."""
    port: int

    @property
    def authority(self) -> str:
        """`host:port`, as in a URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """`https://host:port`, without a slash at its end."""
        return f"https://{self.authority}"


def parse_origin(url: str) -> Origin:
    """Return the origin that a URL without path, query or user names.

    Raises:
        ChannelBindingError: `channel.not_https`.
        UsageError: the URL names more, or less, than a server.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as exc:
        raise UsageError(f"URL of the server: {exc}") from exc
    if parts.scheme.lower() != "https":
        raise ChannelBindingError(
            "URL of the server",
            code=Code.CHANNEL_NOT_HTTPS,
            step=_STEP_CHANNEL,
            expected="https",
            got=parts.scheme or "no scheme",
        )
    if not host or parts.path not in {"", "/"} or parts.query or parts.fragment or "@" in url:
        raise UsageError("URL of the server; expected https://HOST[:PORT] and nothing after it")
    if not host.isascii():
        raise UsageError("URL of the server; expected an international name as xn--…, in ASCII")
    return Origin(host=host, port=_DEFAULT_PORT if port is None else port)


def parse_address(address: str) -> str:
    """Return an IP address in its usual form; an IPv6 address may be in brackets.

    Raises:
        UsageError: it is a name, has a port, or is no address at all.
    """
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        return str(ip_address(bare))
    except ValueError as exc:
        raise UsageError(
            "address of the server; expected an IP address without a port, such as 192.0.2.10; "
            f"got {address!r}; the port goes into the URL"
        ) from exc


def tls_context() -> ssl.SSLContext:
    """Return a client context for TLS 1.3 only, which accepts any certificate on purpose.

    Whoever uses it must compare `peer_spki` with an attested key before sending anything.
    """
    # Not create_default_context: that one reads SSL_CERT_FILE and SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def peer_spki(connection: ssl.SSLSocket) -> bytes:
    """Return the DER SubjectPublicKeyInfo of the key that the peer has proven to hold.

    Raises:
        ChannelBindingError: `channel.tls_version` or `channel.key`.
    """
    if connection.version() != "TLSv1.3":
        raise ChannelBindingError(
            "TLS version",
            code=Code.CHANNEL_TLS_VERSION,
            step=_STEP_CHANNEL,
            expected="TLSv1.3",
            got=connection.version() or "none",
        )
    # TLS 1.3 with this context always has a certificate; an empty one is refused with the rest.
    return _spki(connection.getpeercert(binary_form=True) or b"")


@lru_cache(maxsize=64)
def _spki(certificate: bytes) -> bytes:
    """Return the key in a certificate; asked before each request, mostly about the same one."""
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
        return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    except (ValueError, UnsupportedAlgorithm, x509.InvalidVersion) as exc:
        raise ChannelBindingError(
            "key of the TLS peer: it cannot be read", code=Code.CHANNEL_KEY, step=_STEP_CHANNEL
        ) from exc


def request_evidence(
    connection: ssl.SSLSocket, origin: Origin, nonce: bytes, *, timeout_s: float
) -> tuple[bytes, bool]:
    """Return the evidence for a nonce, and whether the connection can be used again.

    It can not when the server closes it, or has sent more than its answer.

    Args:
        connection: To the server whose key the evidence must name.
        origin: For the Host header.
        nonce: 32 random bytes.
        timeout_s: Seconds for the whole exchange, however slowly its bytes drip.

    Raises:
        DisconnectedError: the server went away.
        NetworkError: the server took too long, or asks to come back later.
        FormatError: `evidence.status`, `evidence.content_type` or `format.too_large`.
    """
    body = json.dumps({"nonce": base64.b64encode(nonce).decode("ascii")}).encode("ascii")
    head = (
        f"POST {_PATH} HTTP/1.1\r\nHost: {origin.authority}\r\nAccept: application/json\r\n"
        "Accept-Encoding: identity\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    timed = TimedSocket(
        connection, deadline=time.monotonic() + timeout_s, limit_bytes=_ANSWER_LIMIT_BYTES
    )
    before = connection.gettimeout()
    try:
        timed.sendall(head.encode("ascii") + body)
        response = http.client.HTTPResponse(timed, method="POST")  # type: ignore[arg-type] # only makefile is called
        with response:
            response.begin()
            answer = _read_answer(response)
    except TooManyBytesError as exc:
        raise _too_large("size of the answer with evidence", _ANSWER_LIMIT_BYTES) from exc
    except (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
        raise DisconnectedError("evidence: the server closed the connection") from exc
    except http.client.HTTPException as exc:
        raise _bad_answer("evidence: the answer is not whole HTTP", type(exc).__name__) from exc
    except OSError as exc:
        raise NetworkError(f"evidence: {exc}") from exc
    else:
        alone = not timed.more_came and _silent(connection)
        return answer, alone and not response.will_close
    finally:
        connection.settimeout(before)


def _read_answer(response: http.client.HTTPResponse) -> bytes:
    if response.status in BUSY:
        raise busy("evidence", response.status, response.headers.get("Retry-After"))
    if response.status in _LATER:
        raise NetworkError(f"evidence: the server answers {response.status}; try again later")
    if response.status != 200:
        raise _bad_answer("evidence: status", response.status, expected=200)
    kind = response.headers.get_content_type()
    encoding = response.headers.get("Content-Encoding", "identity")
    if kind != "application/json" or encoding != "identity":
        raise FormatError(
            "evidence: content",
            code=Code.EVIDENCE_CONTENT_TYPE,
            step=_STEP_EVIDENCE,
            expected="application/json, not compressed",
            got=f"{kind}, {encoding}",
        )
    received = bytearray()
    while piece := response.read(_PIECE_BYTES):
        received += piece
        if len(received) > EVIDENCE_LIMIT_BYTES:
            raise _too_large("size of the evidence", EVIDENCE_LIMIT_BYTES)
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)
    return bytes(received)


def _silent(connection: ssl.SSLSocket) -> bool:
    return not connection.pending() and not wait_for_read(connection, timeout=0.0)


def _bad_answer(what: str, got: object, *, expected: object = None) -> FormatError:
    return FormatError(
        what, code=Code.EVIDENCE_STATUS, step=_STEP_EVIDENCE, expected=expected, got=got
    )


def _too_large(what: str, limit: int) -> FormatError:
    return FormatError(
        what,
        code=Code.FORMAT_TOO_LARGE,
        step=_STEP_EVIDENCE,
        expected=f"at most {limit} bytes",
        got="more",
    )
