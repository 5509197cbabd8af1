"""Where a repository's bytes come from: a web server or a folder, neither of them trusted.

One deadline for a whole update, no redirect, no proxy, no compression, nothing of the environment.
"""

from __future__ import annotations

import http.client
import re
import socket
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

import certifi
from tuf.api.exceptions import DownloadError, DownloadHTTPError, DownloadLengthMismatchError
from tuf.ngclient import FetcherInterface

from blindllama._timed_socket import TimedSocket, TooManyBytesError
from blindllama.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FolderSource", "RememberingFetcher", "Source", "UnreachableError", "WebSource"]

_PLAIN_PATH: Final = re.compile(r"(?:[0-9A-Za-z_-]{1,100}/){0,3}[0-9A-Za-z_.-]{1,200}")
"""No step upwards, no blank, no line break, nothing to be quoted."""
_PIECE_BYTES: Final = 1 << 16
_ANSWER_LIMIT_BYTES: Final = 8 << 20
"""Most bytes of one answer with its head; each file has its own, lower limit beside."""
_NOT_FOUND: Final = 404
_PORTS: Final = {"http": 80, "https": 443}


class UnreachableError(DownloadError):
    """The repository did not answer, or not in time."""


class Source(Protocol):
    """Reads one file of a repository by its path in it."""

    def read(self, path: str, *, deadline: float) -> Iterator[bytes]:
        """Yield the file's bytes.

        Raises:
            DownloadHTTPError: there is no such file, or the server answers otherwise.
            UnreachableError: no answer in time.
        """
        ...


class RememberingFetcher(FetcherInterface):
    """Reads from a source within one deadline, and knows what was asked for last."""

    def __init__(self, source: Source, *, timeout_s: float) -> None:
        """Start the time of the whole update."""
        self._source = source
        self._deadline = time.monotonic() + timeout_s
        self.latest = ""
        """Path in the repository of the file that was asked for last."""

    def _fetch(self, url: str) -> Iterator[bytes]:
        self.latest = url.lstrip("/")
        if _PLAIN_PATH.fullmatch(self.latest) is None:
            # Digests are a part of names: even signed ones lead nowhere else, and into no header.
            raise DownloadHTTPError("a name that no file of a repository has", _NOT_FOUND)
        return self._source.read(self.latest, deadline=self._deadline)


@dataclass(frozen=True, slots=True)
class FolderSource:
    """A repository in a folder."""

    folder: Path

    def read(self, path: str, *, deadline: float) -> Iterator[bytes]:
        """Yield the bytes of a regular file; a pipe would be waited for without end."""
        file = self.folder / path
        if not file.is_file():
            raise DownloadHTTPError(f"{path}: no such file", _NOT_FOUND)
        try:
            with file.open("rb") as reader:
                while piece := reader.read(_PIECE_BYTES):
                    if time.monotonic() >= deadline:
                        raise UnreachableError(f"{path}: took too long")
                    yield piece
        except OSError as exc:
            raise UnreachableError(f"{path}: {exc.strerror or exc}") from exc


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSource:
    """A repository on a web server; its signatures are what is trusted, not the server."""

    scheme: str
    host: str
    port: int
    path: str
    """Starts with a slash and ends without one."""

    @classmethod
    def at(cls, url: str) -> WebSource:
        """Return the source that a URL names.

        Raises:
            UsageError: it is none.
        """
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError as exc:
            raise UsageError(f"URL of the repository: {exc}") from exc
        plain = url.isascii() and url.isprintable() and " " not in url and "@" not in url
        if not plain or not host or parts.scheme not in _PORTS or parts.query or parts.fragment:
            raise UsageError(
                "URL of the repository; expected http[s]://HOST[:PORT][/PATH] and no more"
            )
        return cls(
            scheme=parts.scheme,
            host=host,
            port=_PORTS[parts.scheme] if port is None else port,
            path=parts.path.rstrip("/"),
        )

    def read(self, path: str, *, deadline: float) -> Iterator[bytes]:
        """Yield the body of the answer to one GET on a connection of its own."""
        try:
            with self._connect(deadline) as connection:
                timed = TimedSocket(connection, deadline=deadline, limit_bytes=_ANSWER_LIMIT_BYTES)
                timed.sendall(self._request(path))
                response = http.client.HTTPResponse(timed, method="GET")  # type: ignore[arg-type] # only makefile is called
                with response:
                    response.begin()
                    yield from _body(response, path)
        except TooManyBytesError as exc:
            raise DownloadLengthMismatchError(f"{path}: more than {_ANSWER_LIMIT_BYTES}") from exc
        except (OSError, http.client.IncompleteRead) as exc:
            raise UnreachableError(f"{path}: {str(exc) or type(exc).__name__}") from exc
        except http.client.HTTPException as exc:
            raise DownloadHTTPError(f"{path}: the answer is not HTTP", 0) from exc

    def _connect(self, deadline: float) -> socket.socket:
        remaining = max(deadline - time.monotonic(), 0.001)
        plain = socket.create_connection((self.host, self.port), timeout=remaining)
        if self.scheme == "http":
            return plain
        try:
            return _tls_context().wrap_socket(plain, server_hostname=self.host)
        except BaseException:
            plain.close()
            raise

    def _request(self, path: str) -> bytes:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return (
            f"GET {self.path}/{path} HTTP/1.1\r\nHost: {host}:{self.port}\r\n"
            "Accept-Encoding: identity\r\nConnection: close\r\n\r\n"
        ).encode("ascii")


def _body(response: http.client.HTTPResponse, path: str) -> Iterator[bytes]:
    if response.status != http.client.OK:
        # No redirect is followed: the caller has named the place.
        raise DownloadHTTPError(f"{path}: the server answers {response.status}", response.status)
    while piece := response.read(_PIECE_BYTES):
        yield piece
    if response.length:
        raise http.client.IncompleteRead(b"", response.length)


def _tls_context() -> ssl.SSLContext:
    # Not create_default_context: that one reads SSL_CERT_FILE and SSLKEYLOGFILE.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    return context
