"""What the local proxy answers in place of the guest: errors as programs for OpenAI read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus

from blindllama.errors import Error, NetworkError, VerificationError

__all__ = ["Refusal", "refusal"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer of the proxy's own; nothing was sent to the guest, unless it says `bad gateway`."""

    status: HTTPStatus
    code: str
    message: str
    kind: str = "invalid_request_error"
    step: int | None = None
    """The check that refused, 1 to 10."""

    def body(self) -> bytes:
        """Return the JSON of OpenAI's errors, with the number of the check added."""
        error = {
            "message": self.message,
            "type": self.kind,
            "param": None,
            "code": self.code,
            "step": self.step,
        }
        return json.dumps({"error": error}).encode("ascii")


def refusal(error: Error) -> Refusal:
    """Return how an error of the session is told to a program."""
    match error:
        case VerificationError():
            return Refusal(
                status=HTTPStatus.SERVICE_UNAVAILABLE,
                code=error.code.value,
                message=f"refused at check {error.step}, {error.code.value}: {error}",
                kind="verification_error",
                step=error.step,
            )
        case NetworkError():
            return Refusal(
                status=HTTPStatus.BAD_GATEWAY,
                code="network",
                message=f"not reached: {error}",
                kind="network_error",
            )
        case _:
            return Refusal(status=HTTPStatus.BAD_REQUEST, code="usage", message=str(error))
