"""Step 10 inside `requests`: connections to one origin that are admitted before each request.

A `Gate` looks at a connection after its handshake, and again before every request on it. Only when
it says yes is a byte of the application sent. There is no retry: a request that may have reached
the server is never repeated, and one that has not raised before it was sent.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any, Protocol

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from blindllama._channel import Origin, tls_context
from blindllama.errors import ChannelBindingError, Code, NetworkError

__all__ = ["AttestedAdapter", "Gate"]

_POOLED_CONNECTIONS = 10


class Gate(Protocol):
    """Decides whether a connection may carry application data."""

    def admit(self, connection: ssl.SSLSocket) -> bool:
        """Return True to use the connection, False to open another one; raise to refuse.

        Raises:
            VerificationError: the peer is not a verified guest.
            NetworkError: nothing could be said.
        """
        ...


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
        if self.sock is None or not self._admitted():
            self.close()
            self.connect()
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
                step=10,
            ) from exc
        except BaseException:
            # Half a connection must not go back to the pool.
            self.close()
            raise
        # Against the warning for unverified peers: the gate verifies this one, or closes it.
        self.is_verified = True

    def _admitted(self) -> bool:
        if not isinstance(self.sock, ssl.SSLSocket):
            raise TypeError(f"expected a TLS socket, got {type(self.sock).__name__}")
        try:
            return self._gate.admit(self.sock)
        except BaseException:
            self.close()
            raise


class _Pool(HTTPSConnectionPool):
    ConnectionCls = AttestedConnection

    def attest(self) -> None:
        """Open one connection, have it admitted, and keep it for the first request."""
        connection = self._get_conn()
        try:
            connection.connect()
        finally:
            self._put_conn(connection)


class AttestedAdapter(HTTPAdapter):
    """Carries requests to one origin; what callers say about proxies and certificates is moot."""

    def __init__(self, origin: Origin, gate: Gate, *, timeout_s: float) -> None:
        """Open nothing yet."""
        super().__init__(max_retries=0)
        self._pool = _Pool(
            origin.host,
            origin.port,
            timeout=timeout_s,
            maxsize=_POOLED_CONNECTIONS,
            ssl_context=tls_context(),
            assert_hostname=False,
            gate=gate,
        )

    def attest(self) -> None:
        """Open the first connection and have it admitted.

        Raises:
            VerificationError: the gate refused.
            urllib3.exceptions.HTTPError: no connection.
        """
        self._pool.attest()

    def get_connection_with_tls_context(
        self,
        request: requests.PreparedRequest,  # noqa: ARG002 - requests' signature
        verify: bool | str | None,  # noqa: ARG002, FBT001
        proxies: Mapping[str, str] | None = None,  # noqa: ARG002
        cert: object = None,  # noqa: ARG002
    ) -> HTTPSConnectionPool:
        """Return the one pool, whatever is asked for."""
        return self._pool

    def get_connection(self, url: object, proxies: object = None) -> HTTPSConnectionPool:  # noqa: ARG002
        """Return the one pool to callers of the older method, who would get an unattested one."""
        return self._pool

    def cert_verify(self, conn: object, url: object, verify: object, cert: object) -> None:
        """Leave the pool as it is: certificates have no part in this."""

    def close(self) -> None:
        """Close all connections."""
        self._pool.close()
        super().close()
