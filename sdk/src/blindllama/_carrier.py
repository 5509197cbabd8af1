"""One request and its answer over the attested pool, in terms of no client library.

httpx, openai and the proxy send through it; requests has its own way to the same pool.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

import urllib3
import urllib3.exceptions
from urllib3.response import BaseHTTPResponse

from blindllama._attestor import Attestor
from blindllama._channel import Origin
from blindllama._failure import network_error
from blindllama._interruption import Interruption, interruptible
from blindllama._pool import AttestedPool, check_origin
from blindllama.errors import Code, NetworkError, UsageError, VerificationError

__all__ = ["ANSWER_TIMEOUT_S", "HOP_BY_HOP", "Answer", "Carrier", "Outgoing"]

ANSWER_TIMEOUT_S: Final = 600.0
"""Seconds without a byte of an answer; a model under emulation takes about one per token."""

HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers about one connection and not about the message (RFC 9110, section 7.6.1)."""

_PIECE_BYTES: Final = 1 << 16
_OURS: Final = HOP_BY_HOP | {"host", "content-length"}
"""Headers that follow from the connection and the body, whatever a caller says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A request to the guest."""

    method: str
    target: str
    """Path and query, starting with a slash."""
    headers: Sequence[tuple[str, str]] = ()
    body: bytes = b""
    connect_s: float | None = None
    """Seconds for a connection; None for the session's."""
    answer_s: float | None = None
    """Seconds without a byte of the answer; None for ten minutes."""

    def __repr__(self) -> str:
        """Return the request without what it says."""
        return f"Outgoing({self.method})"


class Answer:
    """The answer to a request, its body piece by piece as it arrives."""

    def __init__(self, response: BaseHTTPResponse, origin: Origin) -> None:
        """Take a response whose body has not been read."""
        self.status = response.status
        self.reason = response.reason or ""
        self.headers = list(response.headers.iteritems())
        self._response = response
        self._origin = origin
        self._reading = threading.Lock()
        self._closed = False

    def read(self) -> bytes:
        """Return the next piece of the body as soon as it is there; nothing at the end.

        Raises:
            NetworkError: the server went away before the end, or the answer was closed.
        """
        with self._reading:
            try:
                if self._closed:
                    raise NetworkError("the answer was closed before its end")
                return self._response.read1(_PIECE_BYTES, decode_content=False)
            except (OSError, urllib3.exceptions.HTTPError) as exc:
                told = network_error(self._origin, exc)
                raise told from told.__cause__
            finally:
                if self._closed:
                    self._response.close()

    def close(self) -> None:
        """Give the answer up, also while another thread reads it; never waits."""
        # The order matters: either the lock is free, or the reader will see the mark.
        self._closed = True
        if self._reading.acquire(blocking=False):
            try:
                self._response.close()
            finally:
                self._reading.release()
        else:
            with suppress(RuntimeError):  # the reader has just come to the end
                self._response.shutdown()


class Carrier:
    """Sends requests to the one attested origin; several threads may use it."""

    def __init__(
        self, origin: Origin, attestor: Attestor, *, timeout_s: float, address: str | None = None
    ) -> None:
        """Open nothing yet; `address` is where to connect, in place of what the name resolves to."""
        self.origin = origin
        self.timeout_s = timeout_s
        self.pool = AttestedPool(origin, attestor, timeout_s=timeout_s, address=address)
        self._attestor = attestor

    def attest(self) -> None:
        """Open the first connection and have it admitted.

        Raises:
            VerificationError: the peer is not a guest of this release.
            NetworkError: the peer was not reached.
        """
        with self.translated():
            self.pool.attest()

    def check_origin(self, url: str) -> None:
        """Refuse a URL that is not the guest's.

        Raises:
            ChannelBindingError: `channel.origin`.
        """
        with self.translated():
            check_origin(url, self.origin, Code.CHANNEL_ORIGIN)

    def send(self, outgoing: Outgoing, interruption: Interruption | None = None) -> Answer:
        """Send a request, once, and return its answer when its head is there.

        Another thread may end the wait with `interruption`.

        Raises:
            VerificationError: the peer was refused, or its answer leads elsewhere.
            NetworkError: the guest went away; the request may have reached it.
            UsageError: no such request can be made.
        """
        headers = urllib3.HTTPHeaderDict()
        for name, value in outgoing.headers:
            if name.lower() not in _OURS:
                headers.add(name, value)
        headers.setdefault("Accept-Encoding", "identity")  # compression would leak lengths
        timeout = urllib3.Timeout(
            connect=outgoing.connect_s or self.timeout_s, read=outgoing.answer_s or ANSWER_TIMEOUT_S
        )
        try:
            with self.translated(), interruptible(interruption):
                response = self.pool.urlopen(
                    outgoing.method,
                    outgoing.target,
                    body=outgoing.body or None,
                    headers=headers,
                    retries=False,
                    redirect=False,
                    assert_same_host=False,
                    preload_content=False,
                    decode_content=False,
                    timeout=timeout,
                )
        except ValueError as exc:
            # Raised for a header before anything was sent. The message would repeat it.
            raise UsageError(f"request that cannot be made: {type(exc).__name__}") from None
        return Answer(response, self.origin)

    def close(self) -> None:
        """Close all connections."""
        self.pool.close()

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Turn whatever libraries raise into the SDK's own errors; this is the one place for it.

        Raises:
            VerificationError: with its report.
            NetworkError: for all that went wrong below the checks.
        """
        try:
            yield
        except VerificationError as exc:
            raise self._attestor.reported(exc) from exc.__cause__
        except (OSError, urllib3.exceptions.HTTPError) as exc:  # requests' own are OSErrors
            told = network_error(self.origin, exc)
            raise told from told.__cause__
