"""Attack T2: one origin, and nothing from the environment."""

from __future__ import annotations

from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from requests.adapters import HTTPAdapter

from blindllama.errors import (
    ChannelBindingError,
    Code,
    UsageError,
)
from blindllama.session import AttestedSession
from tests.simulators.attested_client import new_session
from tests.simulators.attested_server import Server


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "ftp://guest", "guest:443", "//guest"])
def test_t2_only_https(url: str) -> None:
    with pytest.raises(ChannelBindingError) as caught:
        new_session(url, bytes(32))
    assert caught.value.code is Code.CHANNEL_NOT_HTTPS


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://a/b",
        "https://a?b",
        "https://a#b",
        "https://a@b",
        "https://a:x",
        "https://[a",
    ],
)
def test_t2_a_url_names_a_server_and_nothing_else(url: str) -> None:
    with pytest.raises(UsageError):
        new_session(url, bytes(32))


@pytest.mark.parametrize(
    "other",
    [
        "https://example.invalid/",
        "http://127.0.0.1/",
        "https://127.0.0.1/",
        "https://127.0.0.1:8443@example.invalid/",
        "ftp://127.0.0.1/",
    ],
)
def test_t2_the_session_is_for_one_origin(
    session: AttestedSession, server: Server, other: str
) -> None:
    session.attest()
    with pytest.raises(ChannelBindingError) as caught:
        session.post(other, data=b"a secret")
    assert caught.value.code is Code.CHANNEL_ORIGIN
    assert caught.value.report is not None
    assert server.application_bytes == 0


def redirecting(target: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        elsewhere = handler.path != "/end"
        handler.send_response(307 if elsewhere else 200)
        if elsewhere:
            handler.send_header("Location", target)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


@pytest.mark.parametrize(
    "target", ["https://example.invalid/", "//example.invalid/", "http://127.0.0.1/"]
)
def test_t2_redirects_lead_nowhere_else(
    session: AttestedSession, server: Server, target: str
) -> None:
    server.application = redirecting(target)
    with pytest.raises(ChannelBindingError) as caught:
        session.post("/start", data=b"a secret")
    assert caught.value.code is Code.CHANNEL_REDIRECT
    assert server.paths == ["/start"]


def test_t2_redirects_on_the_guest_are_followed(session: AttestedSession, server: Server) -> None:
    server.application = redirecting("/end")
    assert session.post("/start", data=b"x").status_code == 200
    assert server.paths == ["/start", "/end"]


def test_t2_the_environment_changes_nothing(
    session: AttestedSession, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each of these would break or divert an ordinary session.
    nowhere = "http://127.0.0.1:9"
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "HTTP_PROXY"):
        monkeypatch.setenv(name, nowhere)
    log = tmp_path / "keys.log"
    monkeypatch.setenv("SSLKEYLOGFILE", str(log))
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "missing.pem"))
    netrc = tmp_path / "netrc"
    netrc.write_text("default login user password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    seen: list[str | None] = []

    def record(handler: BaseHTTPRequestHandler) -> None:
        seen.append(handler.headers.get("Authorization"))
        handler.send_response(204)
        handler.end_headers()

    server.application = record
    assert session.get("/").status_code == 204
    assert seen == [None]
    assert not log.exists()


def test_t2_proxies_and_adapters_are_refused(session: AttestedSession, server: Server) -> None:
    proxies = {"https": "http://127.0.0.1:9"}
    with pytest.raises(UsageError):
        session.get("/", proxies=proxies)
    with pytest.raises(UsageError):
        session.mount("https://", HTTPAdapter())
    session.proxies = proxies
    with pytest.raises(UsageError):
        session.get("/")
    assert server.application_bytes == 0


def test_t2_certificates_have_no_part_in_it(session: AttestedSession, server: Server) -> None:
    assert session.get("/", verify=False).status_code == 200
    assert session.get("/", verify=True).status_code == 200
    assert server.attestations == 1
