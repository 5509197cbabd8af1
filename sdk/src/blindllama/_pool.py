"""Step 10 below every client library: connections to one origin, admitted before each request.

A `Gate` looks at a connection after its handshake, and again before every request on it. Only when
it says yes is a byte of the application sent. requests, httpx, openai and the proxy all send
through the one pool here, so there is one place that decides.

No request is sent twice. Only a connection that turns out to be closed while evidence is asked for
is opened again, since nothing of the application has been sent by then.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urljoin

from urllib3 import HTTPHeaderDict
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.response import BaseHTTPResponse

from blindllama._channel import DisconnectedError, Origin, parse_origin, tls_context
from blindllama._interruption import own_connection
from blindllama.errors import ChannelBindingError, Code, FormatError, NetworkError, UsageError

__all__ = ["AttestedPool", "Gate", "check_origin"]

_STEP = 10
_POOLED_CONNECTIONS = 32
"""Idle connections that are kept; threads beyond it make new ones, which need no new evidence."""
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Gate(Protocol):
    """Decides whether a connection may carry application data."""

    def admit(self, connection: ssl.SSLSocket) -> bool:
        """Return True to use the connection, False to open another one; raise to refuse.

        Raises:
            VerificationError: the peer is not a verified guest.
            NetworkError: nothing could be said.
        """
        ...


def check_origin(url: str, origin: Origin, code: Code) -> None:
    """Refuse a URL of any other server than the one that is attested.

    Raises:
        ChannelBindingError: with the code given.
    """
    if url.startswith(f"{origin.url}/"):
        return  # the common case: whatever follows that slash is a path
    try:
        named = parse_origin(urljoin(url, "/"))
    except (ChannelBindingError, UsageError):
        named = None
    if named != origin:
        raise ChannelBindingError(
            "origin of a request: the session is for one guest",
            code=code,
            step=_STEP,
            expected=origin.url,
            # Not the URL itself: it may hold a password or a query of the caller's.
            got="no https://HOST[:PORT]" if named is None else named.url,
        )


class AttestedConnection(HTTPSConnection):
    """A TLS connection on which nothing is sent before the gate has admitted it."""

    def __init__(self, *args: Any, gate: Gate, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's
        """Take the gate beside the arguments of urllib3."""
        super().__init__(*args, **kwargs)
        self._gate = gate

    def connect(self) -> None:
        """Open TLS and have the gate look at the peer, or close and raise.

        Raises:
            ChannelBindingError: no TLS 1.3 with this server.
        """
        self._open()
        if not self._admitted():
            # The server closed after it had answered the attestation; its key is known now.
            self._open()
            if not self._admitted():
                self.close()
                raise NetworkError("the server closes every connection after its evidence")

    def request(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - urllib3's
        """Send a request on an admitted connection: evidence that has expired is renewed first."""
        if self.sock is None or not self._still_admitted():
            self.close()
            self.connect()
        own_connection(self.sock)
        super().request(*args, **kwargs)

    def _open(self) -> None:
        self.close()
        try:
            super().connect()
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError) as exc:
            self.close()
            raise NetworkError("TLS handshake: the server closed the connection") from exc
        except ssl.SSLError as exc:
            self.close()
            raise ChannelBindingError(
                f"TLS 1.3 handshake: {exc.reason or exc}",
                code=Code.CHANNEL_TLS_VERSION,
                step=_STEP,
            ) from exc
        except BaseException:
            # Half a connection must not go back to the pool.
            self.close()
            raise
        # Against the warning for unverified peers: the gate verifies this one, or closes it.
        self.is_verified = True

    def _still_admitted(self) -> bool:
        try:
            return self._admitted()
        except DisconnectedError:
            return False  # it had been idle for too long; no byte of the application is lost

    def _admitted(self) -> bool:
        if not isinstance(self.sock, ssl.SSLSocket):
            raise TypeError(f"expected a TLS socket, got {type(self.sock).__name__}")
        try:
            # Bytes that are there before anything was asked must not pass for an answer.
            return self._gate.admit(self.sock) and not self.sock.pending()
        except BaseException:
            self.close()
            raise


class AttestedPool(HTTPSConnectionPool):
    """Connections to one origin; several threads may use it."""

    ConnectionCls = AttestedConnection

    def __init__(
        self, origin: Origin, gate: Gate, *, timeout_s: float, address: str | None = None
    ) -> None:
        """Open nothing yet.

        Args:
            origin: What requests name, in TLS and in HTTP.
            gate: Admits connections.
            timeout_s: Seconds for a connection.
            address: The IP address to connect to; None to look the origin's name up.
        """
        super().__init__(
            origin.host if address is None else address,
            origin.port,
            timeout=timeout_s,
            maxsize=_POOLED_CONNECTIONS,
            ssl_context=tls_context(),
            assert_hostname=False,
            server_hostname=None if address is None else origin.host,
            gate=gate,
        )
        self._origin = origin
        self._host_header = None if address is None else origin.authority

    def attest(self) -> None:
        """Open one connection, have it admitted, and keep it for the first request.

        Raises:
            VerificationError: the gate refused.
            urllib3.exceptions.HTTPError: no connection.
        """
        connection = self._get_conn()
        try:
            connection.connect()
        finally:
            self._put_conn(connection)

    def urlopen(
        self,
        method: str,
        url: str,
        *args: Any,  # noqa: ANN401 - urllib3's
        **kwargs: Any,  # noqa: ANN401
    ) -> BaseHTTPResponse:
        """Send a request and return its answer, unless that leads elsewhere or hides its size.

        Raises:
            ChannelBindingError: `channel.redirect`.
            FormatError: `channel.encoding`.
        """
        headers = kwargs.get("headers") or {}
        if self._host_header is not None:
            # urllib3 would name the address that it connects to.
            headers = HTTPHeaderDict(headers)
            headers.setdefault("Host", self._host_header)
            kwargs["headers"] = headers
        response = super().urlopen(method, url, *args, **kwargs)
        try:
            self._check_redirect(response, url)
            _check_encoding(response, headers)
        except BaseException:
            response.close()
            raise
        return response

    def _check_redirect(self, response: BaseHTTPResponse, url: str) -> None:
        target = response.headers.get("Location")
        if target is not None and response.status in _REDIRECTS:
            # By hand: urljoin would take a path that starts with two slashes for a server.
            here = f"{self._origin.url}{url}"
            check_origin(urljoin(here, target), self._origin, Code.CHANNEL_REDIRECT)


def _check_encoding(response: BaseHTTPResponse, headers: Mapping[str, str]) -> None:
    """Refuse what is compressed though nobody asked: a small answer could fill the memory."""
    encoding = response.headers.get("Content-Encoding", "identity")
    if encoding == "identity":
        return
    asked = {name.lower(): value for name, value in headers.items()}
    if asked.get("accept-encoding", "identity") == "identity":
        raise FormatError(
            "encoding of the answer",
            code=Code.CHANNEL_ENCODING,
            step=_STEP,
            expected="identity, as asked for",
            got=encoding,
        )
