"""As much HTTP/1.1 as a service behind a proxy on a UNIX socket needs: one request per connection.

The only peer is the ingress, which has parsed and bounded the caller's request already; this
parser is strict all the same and accepts one form of each thing.

Source: RFC 9112, sections 2 to 6.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType

from os_image.guest.errors import RequestError

HEAD_LIMIT = 16 * 1024
"""Bytes of request line and headers; also the limit to give to the stream reader."""

_END_OF_HEAD = b"\r\n\r\n"
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, body included."""

    method: str
    path: str
    """The target without its query."""
    body: bytes


async def read_request(reader: asyncio.StreamReader, *, body_limit: int) -> Request:
    """The request that `reader` holds.

    Raises:
        RequestError: It is malformed (400), has no length (411) or is too large (413, 431).
    """
    try:
        head = await reader.readuntil(_END_OF_HEAD)
    except asyncio.LimitOverrunError as error:
        raise RequestError("The head of the request is too large.", status=431) from error
    except asyncio.IncompleteReadError as error:
        raise RequestError("The request ended early.") from error
    lines = head[: -len(_END_OF_HEAD)].decode("latin-1").split("\r\n")
    method, path = _request_line(lines[0])
    size = _body_size(method, _headers(lines[1:]))
    if size > body_limit:
        raise RequestError(f"The body must have at most {body_limit} bytes.", status=413)
    try:
        body = await reader.readexactly(size)
    except asyncio.IncompleteReadError as error:
        raise RequestError("The request ended early.") from error
    return Request(method=method, path=path, body=body)


def render_response(
    status: int, body: bytes, *, content_type: str, headers: Mapping[str, str] = _NO_HEADERS
) -> bytes:
    """The bytes of a response that also ends the connection."""
    fields = {
        "Content-Type": content_type,
        "Content-Length": str(len(body)),
        "Cache-Control": "no-store",
        "Connection": "close",
        **headers,
    }
    lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
    lines += [f"{name}: {value}" for name, value in fields.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def _request_line(line: str) -> tuple[str, str]:
    words = line.split(" ")
    if len(words) != 3 or words[2] not in {"HTTP/1.1", "HTTP/1.0"}:
        raise RequestError("The request line is malformed.")
    return words[0], words[1].split("?", 1)[0]


def _headers(lines: list[str]) -> dict[str, str]:
    headers: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(":")
        # A folded line starts with a space; a doubled header could be read in two ways.
        if not colon or not name or name != name.strip() or name.lower() in headers:
            raise RequestError("A header of the request is malformed.")
        headers[name.lower()] = value.strip()
    return headers


def _body_size(method: str, headers: Mapping[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise RequestError("The request must say its length.", status=411)
    text = headers.get("content-length", "0")
    if not (text.isascii() and text.isdigit()) or len(text) > 10:
        raise RequestError("The length of the request is malformed.")
    if method == "POST" and "content-length" not in headers:
        raise RequestError("The request must say its length.", status=411)
    return int(text)
