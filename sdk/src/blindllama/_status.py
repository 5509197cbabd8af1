"""What a status says that is not 200: the guest has no time now, failed, or cannot do it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from blindllama.errors import BusyError, NetworkError, UsageError

if TYPE_CHECKING:
    import requests

BUSY: Final = frozenset({429, 503})
"""Too many requests, service unavailable (RFC 6585 and RFC 9110): the statuses of Retry-After."""
_LONGEST_S: Final = 3600


def require_ok(response: requests.Response, what: str) -> None:
    """Let an answer of 200 pass.

    Args:
        response: An answer whose body was not read; nothing of the body is told.
        what: What was asked for, as the error names it.

    Raises:
        BusyError: 429 or 503.
        NetworkError: the server failed otherwise, 500 to 599.
        UsageError: any other status.
    """
    status = response.status_code
    if status in BUSY:
        raise busy(what, status, response.headers.get("Retry-After"))
    if status >= 500:
        raise NetworkError(f"{what}: the server answers {status}")
    if status != 200:
        raise UsageError(f"{what}: the server answers {status}")


def busy(what: str, status: int, retry_after: str | None) -> BusyError:
    """Return the error of a server that has no time now.

    Args:
        what: What was asked for.
        status: The status that the server gave.
        retry_after: The header of that name. Whole seconds count, up to an hour; a date does not,
            since it would be the server's clock against the caller's.
    """
    said = retry_after or ""
    whole = said.isascii() and said.isdigit() and len(said) <= len(str(_LONGEST_S))
    seconds = min(int(said), _LONGEST_S) if whole else None
    when = "later" if seconds is None else f"in {seconds} s"
    return BusyError(f"{what}: the server answers {status}; try again {when}", retry_after=seconds)
