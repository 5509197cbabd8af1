"""Attack T2: one origin, and nothing from the environment."""

from __future__ import annotations

import copy
import pickle
import traceback
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
import requests
from requests.adapters import HTTPAdapter

from blindllama._channel import parse_origin
from blindllama._pool import check_origin
from blindllama.errors import (
    ChannelBindingError,
    Code,
    NetworkError,
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
    "url", ["HTTPS://guest.example/", "https://GUEST.example/x", "https://guest.example:443?x=/"]
)
def test_t2_another_spelling_of_the_same_origin(url: str) -> None:
    """A library may hand URLs on as they were given."""
    check_origin(url, parse_origin("https://guest.example"), Code.CHANNEL_ORIGIN)


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


def test_t2_every_adapter_is_the_attested_one(session: AttestedSession, server: Server) -> None:
    session.adapters[f"{server.url}/x"] = HTTPAdapter()
    assert session.get("/x").status_code == 200
    assert server.attestations == 1
    adapter = session.get_adapter(f"{server.url}/x")
    # What code for requests before 2.32 asks for.
    assert adapter.get_connection(server.url) is adapter.get_connection_with_tls_context(
        requests.Request("GET", server.url).prepare(), verify=None
    )


def test_the_default_port_may_be_left_out() -> None:
    with new_session("https://guest.invalid", bytes(32)) as session:
        for url in ("https://guest.invalid/x", "https://GUEST.invalid:443/x"):
            assert session.get_adapter(url) is session.get_adapter("https://guest.invalid:443/")


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_session_is_not_copied(
    session: AttestedSession, server: Server, duplicate: Callable[[object], object]
) -> None:
    session.attest()
    with pytest.raises(UsageError):
        duplicate(session)
    assert session.get("/").status_code == 200


@pytest.mark.parametrize(
    ("url", "arguments"),
    [
        ("completions", {}),
        ("https://", {}),
        ("/", {"json": {"prompt": "a secret", "temperature": float("nan")}}),
        ("/", {"headers": {"Authorization": "a secret\r\n"}}),
    ],
)
def test_t5_requests_that_cannot_be_made(
    session: AttestedSession, server: Server, url: str, arguments: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as caught:
        session.post(url, **arguments)
    assert "secret" not in str(caught.value)
    assert server.application_bytes == 0


def test_t5_no_url_in_error_messages(session: AttestedSession) -> None:
    session.attest()
    path = "/?prompt=secret"
    with pytest.raises(ChannelBindingError) as refused:
        session.get(f"http://user:secret@127.0.0.1{path}")
    assert "secret" not in str(refused.value)
    with (
        new_session("https://127.0.0.1:9", bytes(32)) as nobody,
        pytest.raises(NetworkError) as caught,
    ):
        nobody.get(path)
    assert "secret" not in "".join(traceback.format_exception(caught.value))


def test_t2_certificates_have_no_part_in_it(session: AttestedSession, server: Server) -> None:
    assert session.get("/", verify=False).status_code == 200
    assert session.get("/", verify=True).status_code == 200
    assert server.attestations == 1
