"""Signing in by hand: OpenID Connect's authorization code flow, as `sigstore sign` starts it.

There are no accounts here: whoever can read the state folder may be anybody. So the page asks for
the client secret and for the identity that the token is to be for. The code that it gives back is
good once and for two minutes, and only for whoever started the flow (PKCE). Without a browser,
`curl` with the secret in a POST does the same.

Source: OpenID Connect Core 1.0, section 3.1; RFC 7636 (PKCE); RFC 8252, section 7.3 (loopback).
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import html
import ipaddress
import secrets
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlencode, urlsplit

from supply_chain.local_sigstore.exchange import RefusedError, Request, Response

OUT_OF_BAND = "urn:ietf:wg:oauth:2.0:oob"
"""The redirection of a client that cannot be called back: a person copies the code."""
CODE_LIFETIME = timedelta(minutes=2)
MOST_CODES = 64
_KEPT = ("client_id", "response_type", "redirect_uri", "code_challenge", "code_challenge_method")
_OPTIONAL = ("state", "nonce", "scope")
_PAGE = """<!doctype html><meta charset="utf-8"><title>local Sigstore</title>
<h1>local Sigstore</h1>{content}
"""
_FORM = """<form method="post" action="authorize">{hidden}
<p><label>identity (URI or e-mail address) <input name="identity" required></label>
<p><label>client secret (in the state folder) <input name="secret" type="password" required></label>
<p><button>sign in</button></form>"""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grant:
    identity: str
    nonce: str
    redirect_uri: str
    challenge: str
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Granted:
    """What a code was exchanged for."""

    identity: str
    nonce: str
    """What the client wants to find in the token; empty when it sent none."""


class SignIn:
    """The page, and the codes that it has given out."""

    def __init__(self, check_secret: Callable[[str], None], clock: Callable[[], datetime]) -> None:
        """Ask for the secret, at the clock's time."""
        self._check_secret = check_secret
        self._clock = clock
        self._lock = threading.Lock()
        self._grants: dict[str, _Grant] = {}

    def page(self, request: Request) -> Response:
        """Answer the start of a flow with the form that ends it.

        Raises:
            RefusedError: The client asks for another flow, or wants to be called back elsewhere.
        """
        wanted = _checked(request.query)
        hidden = "".join(
            f'<input type="hidden" name="{name}" value="{html.escape(value)}">'
            for name, value in wanted.items()
        )
        return _html(_FORM.format(hidden=hidden))

    def submit(self, form: Mapping[str, str]) -> Response:
        """Answer the form with a code, by calling the client back or for a person to copy.

        Raises:
            RefusedError: Wrong secret or identity, or as `page`.
        """
        wanted = _checked(form)
        self._check_secret(form.get("secret", ""))
        code = self._remember(
            _Grant(
                identity=form.get("identity", ""),
                nonce=wanted.get("nonce", ""),
                redirect_uri=wanted["redirect_uri"],
                challenge=wanted["code_challenge"],
                expires=self._clock() + CODE_LIFETIME,
            )
        )
        if wanted["redirect_uri"] == OUT_OF_BAND:
            return _html(f"<p>verification code: <code>{code}</code>")
        answer = {"code": code} | {key: wanted[key] for key in ("state",) if key in wanted}
        return Response(
            body=b"",
            status=302,
            headers={
                "Location": f"{wanted['redirect_uri']}?{urlencode(answer)}",
                "Cache-Control": "no-store",
            },
        )

    def redeem(self, form: Mapping[str, str]) -> Granted:
        """Return what a code was given for; it is good no more, whatever comes of it.

        Raises:
            RefusedError: There is no such code, or it was given to somebody else.
        """
        with self._lock:
            grant = self._grants.pop(form.get("code", ""), None)
        verifier = form.get("code_verifier", "").encode()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier).digest()).rstrip(b"=")
        if (
            grant is None
            or self._clock() >= grant.expires
            or form.get("redirect_uri") != grant.redirect_uri
            or not hmac.compare_digest(challenge, grant.challenge.encode())
        ):
            raise RefusedError(400, "code: expected one that was given to this client just now")
        return Granted(identity=grant.identity, nonce=grant.nonce)

    def _remember(self, grant: _Grant) -> str:
        code = secrets.token_urlsafe(24)
        now = self._clock()
        with self._lock:
            self._grants = {key: old for key, old in self._grants.items() if old.expires > now}
            if len(self._grants) >= MOST_CODES:
                raise RefusedError(503, "too many codes are waiting: try again in two minutes")
            self._grants[code] = grant
        return code


def _checked(given: Mapping[str, str]) -> dict[str, str]:
    """The fields of a flow's start that have to come back with the form."""
    expected = {"response_type": "code", "code_challenge_method": "S256"}
    for name, value in expected.items():
        if given.get(name) != value:
            raise RefusedError(400, f"{name}: expected {value}")
    wanted = {name: given[name] for name in (*_KEPT, *_OPTIONAL) if name in given}
    if len(wanted.get("code_challenge", "")) != 43:
        raise RefusedError(400, "code_challenge: expected a SHA-256 in base64url")
    if not _is_here(wanted.get("redirect_uri", "")):
        raise RefusedError(400, "redirect_uri: expected an address of this machine")
    return wanted


def _is_here(uri: str) -> bool:
    """Whether an address leads to a client on this machine, and to nothing but its plain path."""
    if uri == OUT_OF_BAND:
        return True
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
    plain = uri.isascii() and uri.isprintable() and " " not in uri
    extra = parts.query or parts.fragment or parts.username
    return plain and local and parts.scheme == "http" and not extra


def _html(content: str) -> Response:
    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
        "Referrer-Policy": "no-referrer",
    }
    body = _PAGE.format(content=content).encode()
    return Response(body=body, content_type="text/html; charset=utf-8", headers=headers)
