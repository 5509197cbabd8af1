"""What the API refuses or fails at, in the form of OpenAI's errors.

Source: OpenAI API reference, "Error codes"; RFC 9110, section 10.2.3 (Retry-After).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Why, for programs; a code never changes its meaning."""

    INVALID_JSON = "invalid_json"
    UNKNOWN_FIELD = "unknown_field"
    INVALID_VALUE = "invalid_value"
    MODEL_NOT_FOUND = "model_not_found"
    PROMPT_TOO_LONG = "prompt_too_long"
    CONTEXT_LENGTH_EXCEEDED = "context_length_exceeded"
    TOO_MANY_TOKENS = "too_many_tokens"
    BODY_TOO_LARGE = "body_too_large"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_SERVED = "not_served"
    OVERLOADED = "overloaded"
    TIME_LIMIT = "time_limit"
    SERVER_UNAVAILABLE = "server_unavailable"
    SERVER_FAILED = "server_failed"


STATUS = {
    Code.INVALID_JSON: 400,
    Code.UNKNOWN_FIELD: 400,
    Code.INVALID_VALUE: 400,
    Code.MODEL_NOT_FOUND: 404,
    Code.PROMPT_TOO_LONG: 400,
    Code.CONTEXT_LENGTH_EXCEEDED: 400,
    Code.TOO_MANY_TOKENS: 400,
    Code.BODY_TOO_LARGE: 413,
    Code.NOT_FOUND: 404,
    Code.METHOD_NOT_ALLOWED: 405,
    Code.NOT_SERVED: 404,
    Code.OVERLOADED: 503,
    Code.TIME_LIMIT: 504,
    Code.SERVER_UNAVAILABLE: 503,
    Code.SERVER_FAILED: 502,
}
"""The HTTP status of each code."""

RETRY_AFTER_S = 5
"""When a caller that was sent away should come back."""

_SERVER_SIDE = 500


class ApiError(Exception):
    """A request that is not answered; nothing in it was said by anybody else than this caller."""

    def __init__(self, code: Code, message: str, *, param: str | None = None) -> None:
        """Keep why and what.

        Args:
            code: For programs.
            message: For people: what was expected, what came instead.
            param: The field of the request that it is about.
        """
        self.code = code
        self.message = message
        self.param = param
        super().__init__(f"{code}: {message}")

    @property
    def status(self) -> int:
        """The HTTP status."""
        return STATUS[self.code]

    @property
    def headers(self) -> dict[str, str]:
        """Headers of the answer: when to come back, where that helps."""
        if self.code in {Code.OVERLOADED, Code.SERVER_UNAVAILABLE}:
            return {"Retry-After": str(RETRY_AFTER_S)}
        return {}

    def document(self) -> dict[str, Any]:
        """The JSON body."""
        kind = "invalid_request_error" if self.status < _SERVER_SIDE else "server_error"
        return {
            "error": {
                "message": self.message,
                "type": kind,
                "param": self.param,
                "code": self.code.value,
            }
        }
