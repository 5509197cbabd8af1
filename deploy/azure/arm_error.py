"""What the management libraries raise, translated in one place into errors with a reason."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from deploy.azure.errors import AzureError, Reason, printable_line
from deploy.azure.library import library
from deploy.azure.session import login_refused

if TYPE_CHECKING:
    from collections.abc import Iterator

_CAPACITY = frozenset(
    {
        "AllocationFailed",
        "OverconstrainedAllocationRequest",
        "OverconstrainedZonalAllocationRequest",
        "PublicIPCountLimitReached",
        "QuotaExceeded",
        "SkuNotAvailable",
        "ZonalAllocationFailed",
    }
)
_SUBSCRIPTION = frozenset({"InvalidSubscriptionId", "SubscriptionNotFound"})
_BY_STATUS = {
    401: Reason.NOT_LOGGED_IN,
    403: Reason.PERMISSION,
    404: Reason.MISSING,
    408: Reason.UNAVAILABLE,
    409: Reason.CONFLICT,
    429: Reason.UNAVAILABLE,
}
_FAILURE = 500
_TO_DO = {
    Reason.SUBSCRIPTION: "correct subscription in the configuration, or log in as somebody who "
    "has it: az login",
    Reason.NOT_LOGGED_IN: "log in again (az login, or the login of the configuration), then run "
    "the same again: it goes on",
    Reason.PERMISSION: "give whoever is logged in the role in docs/azure.md, then run the same "
    "again: it goes on",
    Reason.CAPACITY: "ask for quota, or choose another size or region, then run the same again",
    Reason.CONFLICT: "see in Azure what uses it or goes on with it, then run the same again",
    Reason.MISSING: "see whether somebody has removed it, then run the same again",
    Reason.UNAVAILABLE: "run the same again later: it goes on",
    Reason.REFUSED: "correct what Azure names, then run the same again",
}


@contextmanager
def translated(identifier: str) -> Iterator[None]:
    """What a library raises in the block becomes an error of ours.

    Args:
        identifier: The resource that is asked about.

    Raises:
        AzureError: In the place of each error of the libraries.
    """
    core = library("azure.core.exceptions")
    no_token = library("knack.util").CLIError
    try:
        yield
    except core.HttpResponseError as exc:
        raise _refusal(identifier, exc) from exc
    except (core.ServiceRequestError, core.ServiceResponseError) as exc:
        raise AzureError(
            Reason.UNAVAILABLE,
            f"{_short(identifier)}: expected an answer, got none ({printable_line(exc)}); "
            f"{_TO_DO[Reason.UNAVAILABLE]}",
        ) from exc
    except no_token as exc:
        raise login_refused(exc) from exc


def _refusal(identifier: str, exc: Any) -> AzureError:  # noqa: ANN401 - the library is optional
    code = str(getattr(exc.error, "code", None) or exc.reason or "no code")
    said = printable_line(getattr(exc.error, "message", None) or exc.message)
    reason = _reason(int(exc.status_code or 0), code, said)
    return AzureError(
        reason,
        f"{_short(identifier)}: expected success, got {printable_line(code)}: {said}; "
        f"{_TO_DO[reason]}",
    )


def _reason(status: int, code: str, said: str) -> Reason:
    if code in _SUBSCRIPTION:
        return Reason.SUBSCRIPTION
    # Compute says OperationNotAllowed for a quota as for much else; the text tells them apart.
    if code in _CAPACITY or "quota" in said.lower():
        return Reason.CAPACITY
    # An operation that fails late is told with status 200.
    if status >= _FAILURE or code in {"InternalServerError", "InternalExecutionError"}:
        return Reason.UNAVAILABLE
    return _BY_STATUS.get(status, Reason.REFUSED)


def _short(identifier: str) -> str:
    """What people call a resource: the last two parts of its identifier."""
    return "/".join(identifier.split("/")[-2:])
