"""What the local proxy takes from a program: read strictly, and from this machine's programs only.

Web pages may not use it, although a browser runs here: their requests are known by `Origin` and
`Sec-Fetch-Site`. A page that points a name of its own at this address (DNS rebinding) is known by
its `Host`. Framing that two readers could take in two ways is refused.

Source: RFC 9112, sections 3.2, 6.1 and 6.3; Fetch metadata (W3C), section 2.
"""

from __future__ import annotations

import ipaddress
import re
from email.message import Message
from http import HTTPStatus
from io import BufferedIOBase
from typing import Final

from blindllama._carrier import HOP_BY_HOP
from blindllama._proxy_error import Refusal

__all__ = ["RefusedError", "end_to_end", "read_body", "require_local"]

BODY_LIMIT_BYTES: Final = 16 << 20
"""Far more than a guest takes; what is larger is a mistake, and would fill the memory."""

_TARGET = re.compile(r"/[!-~]*")
_LENGTH = re.compile(r"[0-9]{1,18}")
_PRIVATE: Final = frozenset({"origin", "referer", "sec-fetch-site", "accept-encoding"})
"""Headers that are about this machine's programs, or that the session decides."""


class RefusedError(Exception):
    """A request that the proxy answers itself."""

    def __init__(self, status: HTTPStatus, code: str, message: str) -> None:
        """Say why."""
        super().__init__(message)
        self.refusal = Refusal(status=status, code=code, message=message)


def require_local(target: str, headers: Message) -> None:
    """Refuse what does not come from a program that means this proxy.

    Raises:
        RefusedError: a web page's request, another server's name, a folded header, or no path.
    """
    if headers.get("Origin") is not None or headers.get("Sec-Fetch-Site", "none") != "none":
        raise RefusedError(
            HTTPStatus.FORBIDDEN, "proxy.web_page", "web pages may not use the proxy"
        )
    hosts = headers.get_all("Host", [])
    if len(hosts) != 1 or not _is_address(hosts[0]):
        raise RefusedError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "proxy.host",
            "Host; expected localhost or an address such as 127.0.0.1, since a name can be made to lead here",
        )
    if any("\n" in value or "\r" in value for value in headers.values()):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "proxy.header", "header; expected one line")
    if not _TARGET.fullmatch(target):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "proxy.target", "target; expected /PATH")


def read_body(headers: Message, source: BufferedIOBase) -> bytes:
    """Return the body of a request.

    Raises:
        RefusedError: it is too large, or does not say how long it is.
    """
    if headers.get("Transfer-Encoding") is not None:
        raise RefusedError(
            HTTPStatus.LENGTH_REQUIRED,
            "proxy.length",
            "Transfer-Encoding; expected Content-Length instead",
        )
    lengths = headers.get_all("Content-Length", ["0"])
    if len(lengths) != 1 or not _LENGTH.fullmatch(lengths[0].strip()):
        raise RefusedError(HTTPStatus.BAD_REQUEST, "proxy.length", "Content-Length; expected one")
    length = int(lengths[0])
    if length > BODY_LIMIT_BYTES:
        raise RefusedError(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            "proxy.too_large",
            f"body; expected at most {BODY_LIMIT_BYTES} bytes; got {length}",
        )
    body = source.read(length)
    if len(body) < length:
        raise ConnectionError("the program went away in the middle of its request")
    return body


def end_to_end(headers: Message) -> list[tuple[str, str]]:
    """Return the headers that are meant for the guest."""
    named = ",".join(headers.get_all("Connection", [])).lower()
    dropped = HOP_BY_HOP | _PRIVATE | {name.strip() for name in named.split(",")}
    return [(name, value) for name, value in headers.items() if name.lower() not in dropped]


def _is_address(host: str) -> bool:
    """Return True for what no foreign name server can point at this machine."""
    name = re.sub(r":[0-9]{1,5}$", "", host)
    if name.lower() == "localhost":
        return True
    try:
        ipaddress.ip_address(name[1:-1] if name.startswith("[") else name)
    except ValueError:
        return False
    return True
