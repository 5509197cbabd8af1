from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from sigstore.oidc import IdentityToken, Issuer

from supply_chain.local_sigstore.exchange import RefusedError
from supply_chain.local_sigstore.instance import FOLDER, SECRET
from supply_chain.local_sigstore.oidc import ISSUER, IdentityProvider, is_email

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.sigstore_client import Client

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = ec.generate_private_key(ec.SECP256R1())


def provider(now: datetime = NOW, key: ec.EllipticCurvePrivateKey = KEY) -> IdentityProvider:
    return IdentityProvider(key, "secret", lambda: now)


def basic(secret: str) -> str:
    return "Basic " + base64.b64encode(f"sigstore:{secret}".encode()).decode()


@pytest.fixture
def secret(sigstore_state: Path, client: Client) -> str:
    return (sigstore_state / FOLDER / SECRET).read_text()


def test_the_discovery_document_leads_to_the_key_that_signs_tokens(
    client: Client, secret: str
) -> None:
    document = client.get("/.well-known/openid-configuration").json()
    assert document["issuer"] == ISSUER
    granted = client.post(
        document["token_endpoint"].removeprefix(client.url),
        {"grant_type": "client_credentials", "identity": "https://blindllama.dev/someone"},
        authorization=basic(secret),
    ).json()
    keys = jwt.PyJWKClient(document["jwks_uri"])
    claims = jwt.decode(
        granted["id_token"],
        keys.get_signing_key_from_jwt(granted["id_token"]),
        algorithms=["ES256"],
        audience="sigstore",
        issuer=ISSUER,
    )
    assert claims["sub"] == "https://blindllama.dev/someone"
    assert IdentityToken(granted["access_token"]).federated_issuer == ISSUER


def test_the_stock_client_reads_the_discovery_document(client: Client) -> None:
    assert Issuer(client.url).oidc_config.token_endpoint == f"{client.url}/oidc/token"


@pytest.mark.parametrize("wrong", ["", "guess", "é"])
def test_without_the_secret_there_is_no_token(client: Client, wrong: str) -> None:
    answer = client.post(
        "/oidc/token",
        {"grant_type": "client_credentials", "identity": "https://blindllama.dev/someone"},
        authorization=basic(wrong),
    )
    assert (answer.status_code, answer.json()["code"]) == (401, 401)
    assert answer.headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize(
    ("form", "reason"),
    [
        ({"grant_type": "password", "identity": "https://a.example/b"}, "grant_type"),
        ({"grant_type": "client_credentials"}, "identity"),
        ({"grant_type": "client_credentials", "identity": "no identity"}, "identity"),
        ({"grant_type": "client_credentials", "identity": "plain"}, "identity"),
        ({"grant_type": "client_credentials", "identity": "https://a.example/\n"}, "identity"),
    ],
)
def test_a_bad_token_request_is_refused(
    client: Client, secret: str, form: dict[str, str], reason: str
) -> None:
    answer = client.post("/oidc/token", form, authorization=basic(secret))
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(reason)


def test_an_email_token_says_that_the_address_was_checked() -> None:
    claims = jwt.decode(provider().token("a@b.example"), options={"verify_signature": False})
    assert (claims["email"], claims["email_verified"]) == ("a@b.example", True)


@pytest.mark.parametrize("after", [timedelta(seconds=-1), timedelta(seconds=600)])
def test_a_token_is_good_for_ten_minutes_only(after: timedelta) -> None:
    token = provider().token("https://a.example/b")
    assert provider(NOW + timedelta(seconds=599)).verify(token).identity == "https://a.example/b"
    with pytest.raises(RefusedError, match="401: identity token: expired or not yet valid"):
        provider(NOW + after).verify(token)


def forged(**changes: object) -> str:
    now = int(NOW.timestamp())
    claims = {
        "iss": ISSUER,
        "aud": "sigstore",
        "sub": "https://a.example/b",
        "nbf": now,
        "exp": now + 600,
    }
    kept = {name: value for name, value in (claims | changes).items() if value is not None}
    return jwt.encode(kept, KEY, algorithm="ES256")


@pytest.mark.parametrize(
    "token",
    [
        forged(iss="https://elsewhere.example"),
        forged(aud="other"),
        forged(exp=None),
        forged(nbf=None),
        forged(sub=None),
        jwt.encode({"sub": "x"}, "", algorithm="none"),
        jwt.encode({"sub": "x"}, "s" * 32, algorithm="HS256"),
        provider(key=ec.generate_private_key(ec.SECP256R1())).token("https://a.example/b"),
        "no token",
        "",
    ],
)
def test_a_token_that_is_not_ours_is_refused(token: str) -> None:
    with pytest.raises(RefusedError) as raised:
        provider().verify(token)
    assert raised.value.status == 401


@pytest.mark.parametrize(
    ("identity", "email"),
    [
        ("a@b.example", True),
        ("https://github.com/o/r/.github/workflows/x.yml@refs/tags/v1", False),
        ("spiffe://trust.example/build", False),
        ("urn:uuid:0", False),
    ],
)
def test_an_identity_is_an_address_or_a_uri(identity: str, email: bool) -> None:
    assert is_email(identity) is email
