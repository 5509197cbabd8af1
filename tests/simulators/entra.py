"""Entra ID on loopback: tokens for one service principal, as msal asks for them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.simulators.arm import TOKEN, Answer

if TYPE_CHECKING:
    from collections.abc import Mapping

TENANT = "00000000-0000-4000-8000-0000000000aa"
CLIENT = "00000000-0000-4000-8000-0000000000bb"
SECRET = "secret-of-the-tests"


@dataclass(slots=True, kw_only=True)
class Entra:
    """One tenant."""

    address: str
    asked: list[Mapping[str, str]] = field(default_factory=list)
    """The forms of all requests for tokens."""

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
        if path != f"/{TENANT}/oauth2/v2.0/token":
            return Answer(status=404, body={"error": "invalid_tenant"})
        self.asked.append(form)
        if form.get("client_id") != CLIENT or form.get("client_secret") != SECRET:
            said = "AADSTS7000215: Invalid client secret provided."
            return Answer(status=401, body={"error": "invalid_client", "error_description": said})
        return Answer(
            status=200,
            body={"token_type": "Bearer", "expires_in": 3600, "access_token": TOKEN},
        )
