"""A request and its answer, as values: what the services of the instance take and give.

The services know no socket, and the server knows no service: this is what they share.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """An HTTP request whose size has already been limited."""

    path: str
    """The path without the query."""
    query: Mapping[str, str]
    """The query's fields; a repeated field keeps its last value."""
    headers: Mapping[str, str]
    """Header fields by lowercase name."""
    body: bytes = b""

    def json(self) -> dict[str, Any]:
        """The body as a JSON object.

        Raises:
            RefusedError: It is something else.
        """
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError) as exc:
            raise RefusedError(400, "body: expected JSON") from exc
        if not isinstance(document, dict):
            raise RefusedError(400, f"body: expected a JSON object, got {type(document).__name__}")
        return document


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An HTTP answer."""

    body: bytes
    status: int = 200
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Request], Response]
Routes = Mapping[tuple[str, str], Handler]
"""Handlers by method and path; a path that ends in `/` takes everything below it."""


class RefusedError(Exception):
    """A request that the instance does not grant; status and reason go to the caller."""

    def __init__(self, status: int, reason: str, headers: Mapping[str, str] | None = None) -> None:
        """Keep the HTTP status, a sentence for people, and header fields to add."""
        self.status = status
        self.reason = reason
        self.headers = dict(headers or {})
        super().__init__(f"{status}: {reason}")


def json_response(
    document: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """The answer that carries this JSON document."""
    body = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return Response(body=body, status=status, headers=dict(headers or {}))


def text_field(document: Mapping[str, Any], *names: str) -> str:
    """The text found by following these names from object to object.

    Raises:
        RefusedError: A name is missing on the way, or the end is no text.
    """
    value: object = document
    for name in names:
        if not isinstance(value, dict) or name not in value:
            raise RefusedError(400, f"body: {'.'.join(names)} is missing")
        value = value[name]
    if not isinstance(value, str):
        raise RefusedError(400, f"body: {'.'.join(names)}: expected text")
    return value
