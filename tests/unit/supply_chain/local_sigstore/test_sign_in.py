"""Signing in by hand: the flow that stock clients start, and what is no such flow."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import pytest
import requests

from supply_chain.local_sigstore.exchange import RefusedError, Request
from supply_chain.local_sigstore.instance import secret_path
from supply_chain.local_sigstore.sign_in import MOST_CODES, OUT_OF_BAND, SignIn
from tests.simulators.person import sign_in

if TYPE_CHECKING:
    from pathlib import Path

    from tests.simulators.sigstore_client import Client

VERIFIER = "a verifier of enough characters, all its own"
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).decode()[:43]
START = {
    "client_id": "sigstore",
    "response_type": "code",
    "redirect_uri": "http://localhost:4321/auth/callback",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
    "state": "the client's own",
}
NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture
def secret(sigstore_state: Path) -> str:
    return secret_path(sigstore_state).read_text()


@pytest.mark.parametrize("nonce", ["", "of the client"])
def test_a_page_leads_to_a_code_and_a_code_to_a_token(
    client: Client, secret: str, nonce: str
) -> None:
    start = START | {"redirect_uri": OUT_OF_BAND} | ({"nonce": nonce} if nonce else {})
    url = f"{client.url}/oidc/authorize?{urlencode(start)}"
    page = sign_in(url, secret=secret, identity="me@blindllama.dev")
    (code,) = re.findall(r"<code>([^<]+)</code>", page.text)
    form = {
        "grant_type": "authorization_code",
        "code": code,
        "code_verifier": VERIFIER,
        "redirect_uri": OUT_OF_BAND,
    }
    token = client.post("/oidc/token", form).json()["id_token"]
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["sub"], claims.get("nonce", "")) == ("me@blindllama.dev", nonce)
    again = client.post("/oidc/token", form)
    assert (again.status_code, again.json()["code"]) == (400, 400)


@pytest.mark.parametrize(
    ("secret_given", "identity", "code"),
    [("wrong", "me@blindllama.dev", 401), ("", "me@blindllama.dev", 401), (None, "nobody", 400)],
)
def test_who_does_not_know_the_secret_gets_no_code(
    client: Client, secret: str, secret_given: str | None, identity: str, code: int
) -> None:
    form = START | {"secret": secret if secret_given is None else secret_given}
    answer = client.post("/oidc/authorize", form | {"identity": identity})
    assert (answer.status_code, answer.json()["code"]) == (code, code)
    assert "Location" not in answer.headers


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"response_type": "token"}, "response_type: expected code"),
        ({"code_challenge_method": "plain"}, "code_challenge_method: expected S256"),
        ({"code_challenge": "short"}, "code_challenge: expected"),
        ({"redirect_uri": "https://localhost/x"}, "redirect_uri: expected"),
        ({"redirect_uri": "http://evil.example/x"}, "redirect_uri: expected"),
        ({"redirect_uri": "http://localhost.evil.example/x"}, "redirect_uri: expected"),
        ({"redirect_uri": "http://localhost@evil.example/x"}, "redirect_uri: expected"),
        ({"redirect_uri": "http://me@localhost/x"}, "redirect_uri: expected"),
        ({"redirect_uri": "http://localhost/x?code=1"}, "redirect_uri: expected"),
        ({"redirect_uri": "http://localhost/x\r\nX: y"}, "redirect_uri: expected"),
        ({"redirect_uri": "http://[::1/x"}, "redirect_uri: expected"),
        ({"redirect_uri": ""}, "redirect_uri: expected"),
    ],
)
def test_another_flow_is_refused(client: Client, change: dict[str, str], reason: str) -> None:
    answer = requests.get(f"{client.url}/oidc/authorize", params=START | change, timeout=10)
    assert answer.status_code == 400
    assert answer.json()["message"].startswith(reason)


def test_what_a_client_sends_is_shown_and_not_run(client: Client) -> None:
    hostile = START | {"state": '"><script>alert(1)</script>'}
    answer = requests.get(f"{client.url}/oidc/authorize", params=hostile, timeout=10)
    assert answer.status_code == 200
    assert "<script>" not in answer.text
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]


class Desk:
    """Sign-ins at a time of the test's own."""

    def __init__(self) -> None:
        self.now = NOW
        self.sign_in = SignIn(lambda _secret: None, lambda: self.now)

    def code(self, **changes: str) -> str:
        answer = self.sign_in.submit(START | {"identity": "a@b.example"} | changes)
        if answer.status == 200:
            (code,) = re.findall(rb"<code>([^<]+)</code>", answer.body)
            return str(code, "ascii")
        return dict(parse_qsl(urlsplit(answer.headers["Location"]).query))["code"]

    def redeem(self, code: str, **changes: str) -> str:
        form = {
            "code": code,
            "code_verifier": VERIFIER,
            "redirect_uri": START["redirect_uri"],
        }
        return self.sign_in.redeem(form | changes).identity


def test_a_code_is_good_once() -> None:
    desk = Desk()
    code = desk.code()
    assert desk.redeem(code) == "a@b.example"
    with pytest.raises(RefusedError) as raised:
        desk.redeem(code)
    assert raised.value.status == 400


@pytest.mark.parametrize(
    "change",
    [
        {"code_verifier": "another"},
        {"code_verifier": ""},
        {"redirect_uri": "http://localhost:9/auth/callback"},
        {"redirect_uri": OUT_OF_BAND},
        {"code": "guessed"},
    ],
)
def test_a_code_is_good_for_who_asked_for_it_alone(change: dict[str, str]) -> None:
    desk = Desk()
    form = {
        "code": desk.code(),
        "code_verifier": VERIFIER,
        "redirect_uri": START["redirect_uri"],
    }
    with pytest.raises(RefusedError) as raised:
        desk.sign_in.redeem(form | change)
    assert raised.value.status == 400


@pytest.mark.parametrize(("after_s", "good"), [(119, True), (120, False)])
def test_a_code_is_good_for_two_minutes(after_s: int, good: bool) -> None:
    desk = Desk()
    code = desk.code()
    desk.now += timedelta(seconds=after_s)
    if good:
        assert desk.redeem(code) == "a@b.example"
    else:
        with pytest.raises(RefusedError):
            desk.redeem(code)


def test_codes_that_wait_are_limited_and_forgotten() -> None:
    desk = Desk()
    for _ in range(MOST_CODES):
        desk.code()
    with pytest.raises(RefusedError) as raised:
        desk.code()
    assert raised.value.status == 503
    desk.now += timedelta(minutes=2)
    assert desk.redeem(desk.code()) == "a@b.example"


def test_the_state_comes_back_only_where_it_was_sent() -> None:
    desk = Desk()
    bare = {name: value for name, value in START.items() if name != "state"}
    answer = desk.sign_in.submit(bare | {"identity": "a@b.example"})
    assert "state" not in answer.headers["Location"]
    answer = desk.sign_in.submit(START | {"identity": "a@b.example"})
    assert "state=the+client%27s+own" in answer.headers["Location"]


def test_the_page_is_for_a_start_alone() -> None:
    with pytest.raises(RefusedError) as raised:
        Desk().sign_in.page(Request(path="/oidc/authorize", query={}, headers={}))
    assert raised.value.status == 400
