"""A repository behind a web server that is slow, endless, broken or leads elsewhere."""

from __future__ import annotations

import gzip
import os
import socket
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler

import pytest

from blindllama.errors import Code, NetworkError, UsageError
from blindllama.repository import Repository
from tests.simulators.hostile_repository import RepositoryServer, answer
from tests.simulators.release_repository import Publisher
from tests.simulators.signed_release import SignedRelease
from tests.unit.sdk.repository.conftest import refused

FILES = ["2.root.json", "timestamp.json", "2.snapshot.json", "2.targets.json", "evidence.json"]


def client(publisher: Publisher, server: RepositoryServer, timeout_s: float = 20.0) -> Repository:
    return Repository(server.url, root=publisher.trusted_root, timeout_s=timeout_s)


def test_what_a_client_asks_for(
    publisher: Publisher, server: RepositoryServer, releases: tuple[SignedRelease, SignedRelease]
) -> None:
    repository = client(publisher, server)
    fetched = repository.fetch(publisher.now)
    assert fetched.evidence == releases[0].evidence
    assert fetched.policy.decode() == releases[0].policy.to_toml()
    names = [path.rpartition("/")[2].partition(".")[2] for path in server.requests]
    assert names == [
        *("root.json", "json", "snapshot.json", "targets.json"),
        *("releases.json", "evidence.json", "policy.toml"),
    ]
    server.requests.clear()
    repository.fetch(publisher.now)
    # Snapshot and targets are remembered; the timestamp says that they still hold.
    assert len(server.requests) == 5


def test_a_path_below_the_server(publisher: Publisher, server: RepositoryServer) -> None:
    inside = publisher.copy("below/this") / "inside"
    publisher.folder.rename(inside)
    (publisher.root / "below" / "this").rename(publisher.folder)
    repository = Repository(f"{server.url}/inside/", root=publisher.trusted_root)
    assert repository.fetch(publisher.now).listing.newest == 1


@pytest.mark.parametrize("name", FILES)
def test_endless_data(publisher: Publisher, server: RepositoryServer, name: str) -> None:
    def endless(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(data)
        while not server.gone.is_set():
            handler.wfile.write(b" " * 65536)

    server.quirks[name] = endless
    signed_length = name not in {"2.root.json", "timestamp.json"}
    code = Code.REPOSITORY_TAMPERED if signed_length else Code.REPOSITORY_FORMAT
    refused(lambda: client(publisher, server).fetch(publisher.now), code)


def test_an_endless_head(publisher: Publisher, server: RepositoryServer) -> None:
    def endless(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
        while not server.gone.is_set():
            handler.wfile.write(b"X: " + b"y" * 60_000 + b"\r\n")

    server.quirks["timestamp.json"] = endless
    refused(lambda: client(publisher, server).fetch(publisher.now), Code.REPOSITORY_STATUS)


def test_a_chunk_of_negative_size(publisher: Publisher, server: RepositoryServer) -> None:
    def negative(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n")
        while not server.gone.is_set():
            handler.wfile.write(b" " * 65536)

    server.quirks["timestamp.json"] = negative
    refused(lambda: client(publisher, server).fetch(publisher.now), Code.REPOSITORY_FORMAT)


@pytest.mark.parametrize("name", FILES)
def test_slow_retrieval_ends_with_the_timeout(
    publisher: Publisher, server: RepositoryServer, name: str
) -> None:
    """A byte now and then keeps a socket's own timeout from ever coming."""

    def drip(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) + 1000))
        handler.end_headers()
        while not server.gone.wait(0.05):
            handler.wfile.write(b" ")

    server.quirks[name] = drip
    with pytest.raises(NetworkError, match="too long|timed out"):
        client(publisher, server, timeout_s=0.4).fetch(publisher.now)


def test_a_slow_head_ends_with_the_timeout(publisher: Publisher, server: RepositoryServer) -> None:
    def drip(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nX: ")
        while not server.gone.wait(0.05):
            handler.wfile.write(b"y")

    server.quirks["timestamp.json"] = drip
    with pytest.raises(NetworkError, match="too long|timed out"):
        client(publisher, server, timeout_s=0.4).fetch(publisher.now)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_no_redirect_is_followed(
    publisher: Publisher, server: RepositoryServer, status: int
) -> None:
    def elsewhere(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(status)
        handler.send_header("Location", "/elsewhere.json")
        handler.end_headers()

    server.quirks["timestamp.json"] = elsewhere
    refused(lambda: client(publisher, server).fetch(publisher.now), Code.REPOSITORY_STATUS)
    assert "/elsewhere.json" not in server.requests


@pytest.mark.parametrize("status", [400, 404, 410, 451])
@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_that_is_refused(
    publisher: Publisher, server: RepositoryServer, name: str, status: int
) -> None:
    server.quirks[name] = lambda handler, _: handler.send_error(status)
    refused(lambda: client(publisher, server).fetch(publisher.now), Code.REPOSITORY_STATUS)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_not_now(publisher: Publisher, server: RepositoryServer, status: int) -> None:
    server.quirks["timestamp.json"] = lambda handler, _: handler.send_error(status)
    with pytest.raises(NetworkError, match=str(status)):
        client(publisher, server).fetch(publisher.now)


def test_something_else_than_http(publisher: Publisher, server: RepositoryServer) -> None:
    def other(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.wfile.write(b"SSH-2.0-x\r\n")

    server.quirks["timestamp.json"] = other
    refused(lambda: client(publisher, server).fetch(publisher.now), Code.REPOSITORY_STATUS)


@pytest.mark.parametrize("kept", [0, 100])
def test_a_connection_that_breaks(
    publisher: Publisher, server: RepositoryServer, kept: int
) -> None:
    def cut(handler: BaseHTTPRequestHandler, data: bytes) -> None:
        if kept:
            answer(handler, data[:kept], length=len(data))
        handler.connection.shutdown(socket.SHUT_RDWR)

    server.quirks["timestamp.json"] = cut
    with pytest.raises(NetworkError):
        client(publisher, server).fetch(publisher.now)


def test_compression_is_not_undone(publisher: Publisher, server: RepositoryServer) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    server.quirks["timestamp.json"] = lambda handler, _: answer(handler, bomb, encoding="gzip")
    refused(lambda: client(publisher, server).fetch(publisher.now), Code.REPOSITORY_FORMAT)


def test_nobody_there(publisher: Publisher, server: RepositoryServer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(NetworkError, match="refused"):
        Repository(f"http://127.0.0.1:{port}", root=publisher.trusted_root).fetch(publisher.now)


def test_a_plain_server_under_https(publisher: Publisher, server: RepositoryServer) -> None:
    secure = server.url.replace("http://", "https://")
    with pytest.raises(NetworkError):
        Repository(secure, root=publisher.trusted_root).fetch(publisher.now)


def test_t2_the_environment_changes_nothing(
    publisher: Publisher, server: RepositoryServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, "/nowhere")
    assert client(publisher, server).fetch(publisher.now).listing.newest == 1


@pytest.mark.parametrize(
    "location",
    [
        "ftp://example.org",
        "http://",
        "http://user@example.org",
        "http://example.org/?a=b",
        "http://example.org/#a",
        "http://example.org:port",
        "http://example.org/a b",
        "http://example.org/\r\nX: y",
    ],
)
def test_an_address_that_is_none(publisher: Publisher, location: str) -> None:
    with pytest.raises(UsageError, match="URL of the repository"):
        Repository(location, root=publisher.trusted_root)


@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_are_some_and_not_for_ever(publisher: Publisher, seconds: float) -> None:
    with pytest.raises(UsageError, match="timeout_s"):
        Repository(publisher.folder, root=publisher.trusted_root, timeout_s=seconds)


def test_a_time_without_a_zone(publisher: Publisher) -> None:
    with pytest.raises(UsageError, match="time zone"):
        publisher.client().fetch(datetime(2026, 11, 25))  # noqa: DTZ001


def test_a_folder_that_is_not_there(publisher: Publisher) -> None:
    nowhere = Repository(publisher.root / "nowhere", root=publisher.trusted_root)
    refused(lambda: nowhere.fetch(publisher.now), Code.REPOSITORY_STATUS)


def test_a_folder_that_takes_too_long(publisher: Publisher) -> None:
    slow = Repository(publisher.folder, root=publisher.trusted_root, timeout_s=1e-9)
    with pytest.raises(NetworkError, match="took too long"):
        slow.fetch(publisher.now)


def test_a_pipe_in_a_folder_is_no_file(publisher: Publisher) -> None:
    (publisher.folder / "timestamp.json").unlink()
    os.mkfifo(publisher.folder / "timestamp.json")
    refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_STATUS)


def test_threads_share_a_repository(publisher: Publisher, server: RepositoryServer) -> None:
    repository = client(publisher, server)
    results: list[int] = []
    threads = [
        threading.Thread(
            target=lambda: results.append(repository.fetch(publisher.now).listing.newest)
        )
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 8


def test_a_folder_on_a_disk_that_fails(publisher: Publisher) -> None:
    (publisher.folder / "timestamp.json").unlink()
    (publisher.folder / "timestamp.json").symlink_to("/proc/self/mem")  # its first page is nobody's
    with pytest.raises(NetworkError, match="Input/output error"):
        publisher.client().fetch(publisher.now)
