"""The OpenID Connect issuer: discovery, keys, and identity tokens for who knows the local secret.

The issuer's name is a fixed URI without a port, because it ends in every certificate (the Fulcio
issuer extension) and in every policy, while the port changes with each start. The top-level name
`localhost` is reserved for loopback, so nobody can ever own this issuer on the internet.

Source: OpenID Connect Core 1.0 and Discovery 1.0; RFC 6749, section 4.4; RFC 6761, section 6.3.
"""

from __future__ import annotations

import base64
import hmac
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

import jwt

from supply_chain.local_sigstore.exchange import RefusedError, Request, Response, json_response
from supply_chain.local_sigstore.github import (
    GITHUB_ISSUER,
    workflow_extensions,
    workflow_identity,
)
from supply_chain.local_sigstore.keys import spki
from supply_chain.local_sigstore.sign_in import SignIn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives.asymmetric import ec

    from supply_chain.local_sigstore.github import WorkflowRun

ISSUER = "https://oidc.sigstore.localhost"
AUDIENCE = "sigstore"
"""The client identifier that all Sigstore clients use."""
LIFETIME_S = 600
ALGORITHM = "ES256"


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What a verified identity token says."""

    identity: str
    """A URI or an e-mail address: the certificate's subject alternative name."""
    subject: str
    """The claim that a proof of possession is made over."""
    issuer: str
    extensions: Mapping[x509.ObjectIdentifier, str] = field(default_factory=dict)
    """What the certificate says besides, of a CI job."""


def is_email(identity: str) -> bool:
    """Whether an identity is an e-mail address rather than a URI.

    Raises:
        RefusedError: It is neither, or holds characters that a certificate cannot carry.
    """
    if not identity.isascii() or not identity.isprintable() or " " in identity:
        raise RefusedError(400, f"identity: expected printable ASCII, got {identity!r}")
    name, separator, domain = identity.partition("@")
    if separator and name and domain and "/" not in identity and ":" not in identity:
        return True
    parts = urlsplit(identity)
    if not parts.scheme or not (parts.netloc or parts.path):
        raise RefusedError(400, f"identity: expected a URI or an e-mail address, got {identity!r}")
    return False


class IdentityProvider:
    """Makes and checks identity tokens with one key."""

    def __init__(
        self, key: ec.EllipticCurvePrivateKey, secret: str, clock: Callable[[], datetime]
    ) -> None:
        """Sign with the key, for callers who send the secret, at the clock's time."""
        self._key = key
        self._secret = secret
        self._clock = clock
        self._key_id = spki(key)[-32:].hex()
        self._sign_in = SignIn(self._check_secret, clock)

    def token(self, identity: str, *, nonce: str = "") -> str:
        """A signed identity token for a URI or an e-mail address, good for ten minutes.

        Args:
            identity: Whom it is for.
            nonce: What the client wants to find in it.

        Raises:
            RefusedError: The identity is neither.
        """
        claims: dict[str, object] = {"sub": identity}
        if is_email(identity):
            # Clients of Fulcio refuse an e-mail token that does not say that it was checked.
            claims |= {"email": identity, "email_verified": True}
        if nonce:
            claims["nonce"] = nonce
        return self._signed(ISSUER, claims)

    def workflow_token(self, run: WorkflowRun) -> str:
        """A signed identity token such as GitHub's issuer gives to a job, for rehearsals."""
        return self._signed(GITHUB_ISSUER, run.claims)

    def _signed(self, issuer: str, claims: Mapping[str, object]) -> str:
        now = int(self._clock().timestamp())
        every: dict[str, object] = {
            "iss": issuer,
            "aud": AUDIENCE,
            "iat": now,
            "nbf": now,
            "exp": now + LIFETIME_S,
            "jti": str(uuid.uuid4()),
        }
        return jwt.encode(
            every | dict(claims), self._key, algorithm=ALGORITHM, headers={"kid": self._key_id}
        )

    def verify(self, token: str) -> Claims:
        """The claims of a token that this issuer made and that is good now.

        Raises:
            RefusedError: Wrong signature, algorithm, issuer, audience or time.
        """
        now = self._clock().timestamp()
        try:
            claims = jwt.decode(
                token,
                self._key.public_key(),
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=[ISSUER, GITHUB_ISSUER],
                # Times are compared with our clock below, not with the library's.
                options={
                    "require": ["exp", "nbf", "sub"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
        except jwt.InvalidTokenError as exc:
            raise RefusedError(401, f"identity token: {exc}") from exc
        if not int(claims["nbf"]) <= now < int(claims["exp"]):
            raise RefusedError(401, "identity token: expired or not yet valid")
        subject = str(claims["sub"])
        if claims["iss"] != GITHUB_ISSUER:
            return Claims(identity=subject, subject=subject, issuer=ISSUER)
        return Claims(
            identity=workflow_identity(claims),
            subject=subject,
            issuer=GITHUB_ISSUER,
            extensions=workflow_extensions(claims),
        )

    def discovery(self, request: Request) -> Response:
        """Answer for the discovery document; its endpoints are where the caller found us."""
        base = f"http://{request.headers['host']}"
        return json_response(
            {
                "issuer": ISSUER,
                "authorization_endpoint": f"{base}/oidc/authorize",
                "token_endpoint": f"{base}/oidc/token",
                "jwks_uri": f"{base}/oidc/keys",
                "response_types_supported": ["code"],
                "code_challenge_methods_supported": ["S256"],
                "grant_types_supported": ["authorization_code", "client_credentials"],
                "subject_types_supported": ["public"],
                "id_token_signing_alg_values_supported": [ALGORITHM],
                "token_endpoint_auth_methods_supported": ["client_secret_basic"],
                "claims_supported": ["aud", "email", "email_verified", "exp", "iat", "iss", "sub"],
            }
        )

    def keys(self, _request: Request) -> Response:
        """Answer with the public key as a JSON Web Key Set."""
        numbers = self._key.public_key().public_numbers()
        key = {
            "kty": "EC",
            "crv": "P-256",
            "use": "sig",
            "alg": ALGORITHM,
            "kid": self._key_id,
            "x": _base64url(numbers.x.to_bytes(32, "big")),
            "y": _base64url(numbers.y.to_bytes(32, "big")),
        }
        return json_response({"keys": [key]})

    def authorize(self, request: Request) -> Response:
        """Answer the start of a sign-in by hand with its page.

        Raises:
            RefusedError: As `SignIn.page`.
        """
        return self._sign_in.page(request)

    def grant(self, request: Request) -> Response:
        """Answer the filled-in page with a code.

        Raises:
            RefusedError: As `SignIn.submit`, or the identity is none.
        """
        form = _form(request)
        is_email(form.get("identity", ""))
        return self._sign_in.submit(form)

    def exchange(self, request: Request) -> Response:
        """Give an identity token for the secret, or for a code of the sign-in page.

        The secret is HTTP Basic's password; the form names the `identity` that the token is for.

        Raises:
            RefusedError: Wrong secret, code, grant type or identity.
        """
        form = _form(request)
        kind = form.get("grant_type")
        if kind == "authorization_code":
            granted = self._sign_in.redeem(form)
            token = self.token(granted.identity, nonce=granted.nonce)
        else:
            self._check_basic(request.headers.get("authorization", ""))
            if kind != "client_credentials":
                raise RefusedError(
                    400, "grant_type: expected client_credentials or authorization_code"
                )
            token = self.token(form.get("identity", ""))
        return json_response(
            {
                "access_token": token,
                "id_token": token,
                "token_type": "Bearer",
                "expires_in": LIFETIME_S,
            },
            headers={"Cache-Control": "no-store"},
        )

    def _check_basic(self, authorization: str) -> None:
        try:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
        except ValueError:
            pair = ""
        name, _, secret = pair.partition(":")
        self._check_secret(secret if name == AUDIENCE else "")

    def _check_secret(self, given: str) -> None:
        if not hmac.compare_digest(given.encode(), self._secret.encode()):
            raise RefusedError(
                401,
                "wrong client secret: it is in the state folder, readable by its owner",
                headers={"WWW-Authenticate": 'Basic realm="local sigstore"'},
            )


def _form(request: Request) -> dict[str, str]:
    return dict(parse_qsl(request.body.decode("ascii", errors="replace")))


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
