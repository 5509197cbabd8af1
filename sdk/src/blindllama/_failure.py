"""What other libraries raise below the checks, told as one `NetworkError` in a plain sentence.

Their own messages show objects of theirs, and repeat path and query, which are the caller's.
"""

from __future__ import annotations

from collections.abc import Iterator

import urllib3.exceptions

from blindllama._channel import Origin
from blindllama.errors import NetworkError

__all__ = ["network_error"]


def network_error(origin: Origin, error: Exception) -> NetworkError:
    """Return the error to raise in place of one of requests, urllib3 or the system."""
    causes = list(_causes(error))
    # From the innermost: what lies between may hold the URL, which a traceback would show.
    told = NetworkError(f"{origin.url}: {_sentence(causes)}")
    told.__cause__ = causes[-1]
    return told


def _sentence(causes: list[BaseException]) -> str:
    kinds = tuple(type(cause) for cause in causes)
    if _any(kinds, urllib3.exceptions.ClosedPoolError):
        return "the session is closed"
    if _any(kinds, urllib3.exceptions.NameResolutionError):
        return "the name of the server cannot be resolved"
    if _any(kinds, urllib3.exceptions.ConnectTimeoutError):
        # urllib3 makes a refused connection a kind of this one.
        if not _any(kinds, urllib3.exceptions.NewConnectionError):
            return "no connection within the time allowed"
    elif _any(kinds, urllib3.exceptions.ReadTimeoutError, TimeoutError):
        return "no answer within the time allowed"
    innermost = causes[-1]
    if isinstance(innermost, OSError):
        return innermost.strerror or str(innermost)
    # Its text may be the server's.
    return f"the answer is not whole HTTP ({type(innermost).__name__})"


def _any(kinds: tuple[type[BaseException], ...], *wanted: type[BaseException]) -> bool:
    return any(issubclass(kind, wanted) for kind in kinds)


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and, one inside the other, what caused it."""
    inner: object = error
    while isinstance(inner, BaseException):
        yield inner
        candidates = (getattr(inner, "reason", None), *inner.args, inner.__cause__)
        inner = next((one for one in candidates if isinstance(one, BaseException)), None)
