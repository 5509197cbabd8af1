"""Entra ID on loopback: tokens for one service principal or workload, and for a machine's identity."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.simulators.arm import TOKEN, Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

TENANT = "00000000-0000-4000-8000-0000000000aa"
CLIENT = "00000000-0000-4000-8000-0000000000bb"
SECRET = "secret-of-the-tests"
ASSERTION = "assertion-of-the-tests"
"""What the place where a workload runs says of it."""
MACHINE = "/machine/token"
"""Where a machine asks for the token of its own identity, as Azure's App Service has it."""


@dataclass(slots=True, kw_only=True)
class Entra:
    """One tenant."""

    address: str
    asked: list[Mapping[str, str]] = field(default_factory=list)
    """The forms, or queries, of all requests for tokens."""
    certificate: bytes = b""
    """The certificate (PEM) by which the service principal is known besides its secret."""

    def answer(self, path: str, form: Mapping[str, str]) -> Answer:
        """What it says to a request that is not for the Resource Manager."""
        base = f"{self.address}/{TENANT}"
        if path == f"/{TENANT}/v2.0/.well-known/openid-configuration":
            body: dict[str, Any] = {
                "issuer": f"{base}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
            }
            return Answer(status=200, body=body)
        if path == MACHINE:
            self.asked.append(form)
            return Answer(
                status=200,
                body={
                    "token_type": "Bearer",
                    "expires_on": str(1 << 33),
                    "resource": form["resource"],
                    "access_token": TOKEN,
                },
            )
        if path != f"/{TENANT}/oauth2/v2.0/token":
            return Answer(status=404, body={"error": "invalid_tenant"})
        self.asked.append(form)
        known = form.get("client_secret") == SECRET or self._asserted(
            form.get("client_assertion", ""), f"{base}/oauth2/v2.0/token"
        )
        if form.get("client_id") != CLIENT or not known:
            said = "AADSTS7000215: Invalid client secret provided."
            return Answer(status=401, body={"error": "invalid_client", "error_description": said})
        return Answer(
            status=200,
            body={"token_type": "Bearer", "expires_in": 3600, "access_token": TOKEN},
        )

    def _asserted(self, assertion: str, audience: str) -> bool:
        """Whether an assertion is the workload's, or signed with the certificate's key."""
        if assertion == ASSERTION or not self.certificate:
            return assertion == ASSERTION
        key = x509.load_pem_x509_certificate(self.certificate).public_key()
        assert isinstance(key, rsa.RSAPublicKey)
        import jwt  # noqa: PLC0415 - comes with msal, which is optional

        try:
            claims = jwt.decode(
                assertion,
                key,
                algorithms=["RS256", "PS256"],
                audience=audience,
            )
        except jwt.InvalidTokenError:
            return False
        return bool(claims["sub"] == claims["iss"] == CLIENT)
