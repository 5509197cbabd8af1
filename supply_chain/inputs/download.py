"""Downloads that go on where they stopped, retried on network errors only."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import requests
import stamina
import urllib3

from supply_chain.errors import FetchError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

TIMEOUT_S = (10.0, 60.0)
"""Seconds to connect, and to wait for the next bytes."""
ATTEMPTS = 5
CHUNK_BYTES = 1 << 20
# stamina logs each pause; without a handler of anybody's, Python would write them to the console.
logging.getLogger("stamina").addHandler(logging.NullHandler())

_RETRYABLE_STATUS = frozenset({408, 429, 500, 502, 503, 504})


class NotServedError(FetchError):
    """The server works and does not have the file."""

    code = "build.fetch.not_served"


class _TryAgainError(Exception):
    """The server asks to come back later, or stopped in the middle."""


def download(
    url: str,
    part: Path,
    *,
    size: int,
    proxies: Mapping[str, str] | None = None,
    wait_initial_s: float = 0.5,
) -> None:
    """The file `part` holds `size` bytes from the address; their digest is not checked here.

    Bytes that are in `part` already are not asked for again.

    Args:
        url: Where the file is published.
        part: The file to write or to complete.
        size: The bytes expected.
        proxies: Proxies by scheme, on top of those of the environment.
        wait_initial_s: Seconds before the second attempt; each later pause is longer.

    Raises:
        NotServedError: The server answers that it has no such file.
        FetchError: It cannot be reached, keeps failing, or sends another number of bytes.
        OSError: The file cannot be written; what was written stays.
    """
    part.parent.mkdir(parents=True, exist_ok=True)
    retryable = (requests.ConnectionError, requests.Timeout, _TryAgainError)
    try:
        for attempt in stamina.retry_context(
            on=retryable,
            attempts=ATTEMPTS,
            timeout=None,
            wait_initial=wait_initial_s,
            wait_jitter=wait_initial_s,
        ):
            with attempt:
                _continue(url, part, size, dict(proxies or {}))
    except (requests.ConnectionError, requests.Timeout) as exc:
        raise FetchError(
            f"{shown(url)} cannot be reached ({_reason(exc)}): check the network and its proxy, "
            "then run the same again; what was fetched stays"
        ) from exc
    except requests.RequestException as exc:
        # Its own words may repeat the address with its password.
        raise FetchError(f"{shown(url)} cannot be fetched: {type(exc).__name__}") from exc
    except _TryAgainError as exc:
        raise FetchError(f"{shown(url)} cannot be fetched: {exc}; try again later") from exc
    except OSError as exc:
        # A write that fails names no file: whoever has to free space must know where.
        raise OSError(exc.errno, exc.strerror, str(part)) from exc


def shown(url: str) -> str:
    """Return an address as a log may hold it: without user and password."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))


def _reason(exc: BaseException) -> str:
    """Return what the system said, out of the layers that requests and urllib3 put around it."""
    cause = exc.args[0] if exc.args else None
    inner = getattr(cause, "reason", cause)
    if isinstance(inner, BaseException) and inner.args:
        return str(inner).partition(": ")[2] or type(inner).__name__
    return type(exc).__name__


def _continue(url: str, part: Path, size: int, proxies: dict[str, str]) -> None:
    have = part.stat().st_size if part.exists() else 0
    if have > size:
        part.unlink()
        have = 0
    if have == size:
        return
    # Identity: a proxy that compresses would change the bytes and the offsets.
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    with requests.get(
        url, headers=headers, stream=True, timeout=TIMEOUT_S, proxies=proxies
    ) as answer:
        if answer.status_code in _RETRYABLE_STATUS:
            raise _TryAgainError(f"status {answer.status_code}")
        if answer.status_code == 416:
            # What is there does not fit what is published: begin anew.
            part.unlink()
            raise _TryAgainError("the server refuses to continue the download")
        if answer.status_code in {403, 404, 410}:
            raise NotServedError(f"{shown(url)} is not served: status {answer.status_code}")
        if answer.status_code not in {200, 206}:
            raise FetchError(f"{shown(url)} cannot be fetched: status {answer.status_code}")
        resumed = answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(
            f"bytes {have}-"
        )
        _append(answer, part, have if resumed else 0, size, url)


def _append(answer: requests.Response, part: Path, offset: int, size: int, url: str) -> None:
    with part.open("r+b" if part.exists() else "wb") as file:
        file.truncate(offset)
        file.seek(offset)
        try:
            # read1 hands out what has come: a larger read would lose it when the connection
            # breaks, and the next attempt would ask for it again.
            while offset <= size and (chunk := answer.raw.read1(CHUNK_BYTES)):
                offset += len(chunk)
                file.write(chunk)
        except urllib3.exceptions.HTTPError as exc:
            raise _TryAgainError(f"the connection ended after {offset} of {size} bytes") from exc
    if offset > size:
        part.unlink()
        raise FetchError(f"{shown(url)} is longer than expected: {size} bytes, got more")
    if offset < size:
        raise _TryAgainError(f"the connection ended after {offset} of {size} bytes")
