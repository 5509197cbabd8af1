"""The HTTP edge, asked with bare sockets for what no client library sends."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
import requests

from supply_chain.local_sigstore.exchange import Request, Response, json_response
from supply_chain.local_sigstore.keys import LocalSigstoreError
from supply_chain.local_sigstore.server import MAX_BODY_BYTES, MAX_CONNECTIONS, HttpServer

if TYPE_CHECKING:
    from collections.abc import Iterator


def echo(request: Request) -> Response:
    return json_response({"size": len(request.body), "query": dict(request.query)})


def broken(_request: Request) -> Response:
    raise LocalSigstoreError("the disk is full")


ROUTES = {
    ("GET", "/tree/"): echo,
    ("GET", "/echo"): echo,
    ("POST", "/echo"): echo,
    ("GET", "/broken"): broken,
}


@pytest.fixture
def server() -> Iterator[HttpServer]:
    with HttpServer(ROUTES, max_exchange_s=1.0) as found:
        yield found


def port(server: HttpServer) -> int:
    return int(server.url.rpartition(":")[2])


def exchange(server: HttpServer, request: bytes) -> tuple[int, str]:
    """The status and the message of the answer to these bytes."""
    with socket.create_connection(("127.0.0.1", port(server)), timeout=10) as connection:
        connection.sendall(request)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    document = json.loads(body)
    assert document["code"] == int(head.split()[1])
    return document["code"], document["message"]


def posted(server: HttpServer, *lines: str, host: str | None = None) -> bytes:
    host = f"127.0.0.1:{port(server)}" if host is None else host
    return "\r\n".join(["POST /echo HTTP/1.1", f"Host: {host}", *lines, "", ""]).encode()


def test_a_request_is_answered(server: HttpServer) -> None:
    answer = requests.post(f"{server.url}/echo?a=b", data=b"xyz", timeout=10)
    assert answer.json() == {"size": 3, "query": {"a": "b"}}
    assert answer.headers["server"].strip() == "local-sigstore"


def test_only_loopback_is_listened_on(server: HttpServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    for address in ("127.0.0.2", "::1"):
        with pytest.raises(OSError):
            socket.create_connection((address, port(server)), timeout=1)


def test_the_largest_body_is_taken_and_one_more_byte_is_not(server: HttpServer) -> None:
    largest = requests.post(f"{server.url}/echo", data=bytes(MAX_BODY_BYTES), timeout=10)
    assert largest.json()["size"] == MAX_BODY_BYTES
    length = f"Content-Length: {MAX_BODY_BYTES + 1}"
    assert exchange(server, posted(server, length)) == (
        413,
        f"body: at most {MAX_BODY_BYTES} bytes, got {MAX_BODY_BYTES + 1}",
    )


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ((), 411),
        (("Transfer-Encoding: chunked",), 411),
        (("Content-Length: -1",), 400),
        (("Content-Length: ten",), 400),
        (("Content-Length: " + "9" * 40,), 400),
    ],
)
def test_a_body_without_an_honest_length_is_refused(
    server: HttpServer, lines: tuple[str, ...], code: int
) -> None:
    assert exchange(server, posted(server, *lines))[0] == code


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1", "127.0.0.1:1", ""])
def test_a_rebound_name_is_refused(server: HttpServer, host: str) -> None:
    assert exchange(server, posted(server, "Content-Length: 0", host=host))[0] == 421


def test_unknown_paths_and_methods_are_named(server: HttpServer) -> None:
    assert requests.get(f"{server.url}/other", timeout=10).status_code == 404
    assert requests.post(f"{server.url}/broken", data=b"", timeout=10).status_code == 405
    for method in ("DELETE", "PUT", "PATCH", "OPTIONS"):
        refused = requests.request(method, f"{server.url}/echo", timeout=10)
        assert (refused.status_code, refused.headers["Allow"]) == (405, "GET, POST")
        assert refused.json() == {
            "code": 405,
            "message": f"{method} is not allowed here: expected GET or POST",
        }
    head = requests.head(f"{server.url}/echo", timeout=10)
    assert (head.status_code, head.content) == (405, b"")
    assert requests.request("BREW", f"{server.url}/echo", timeout=10).json()["code"] == 501


def test_a_path_below_a_route_is_answered_by_it(server: HttpServer) -> None:
    assert requests.get(f"{server.url}/tree/a/b/c", timeout=10).json()["size"] == 0
    assert requests.get(f"{server.url}/tree", timeout=10).status_code == 404


@pytest.mark.parametrize("request_line", [b"nonsense\r\n\r\n", b"GET /echo HTTP/9.9\r\n\r\n"])
def test_a_malformed_request_is_refused(server: HttpServer, request_line: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port(server)), timeout=10) as connection:
        connection.sendall(request_line)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert json.loads(answer[answer.index(b"{") :])["code"] in {400, 505}


def test_too_many_headers_are_refused(server: HttpServer) -> None:
    lines = [f"X-{number}: x" for number in range(200)]
    assert exchange(server, posted(server, *lines))[0] == 431


def test_large_headers_are_refused_before_they_are_all_read(server: HttpServer) -> None:
    lines = [f"X-{number}: {'x' * 30_000}" for number in range(3)]
    code, message = exchange(server, posted(server, *lines))
    assert (code, message) == (431, "Too many headers")


def test_a_long_request_line_is_refused(server: HttpServer) -> None:
    assert exchange(server, b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")[0] == 414


@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2", "::1"])
def test_any_loopback_address_may_be_chosen(address: str) -> None:
    with HttpServer(ROUTES, address=address) as server:
        assert requests.get(f"{server.url}/echo", timeout=10).json()["size"] == 0


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        ("192.0.2.1", "expected a loopback address, got 192.0.2.1"),
        ("2001:db8::1", "expected a loopback address"),
        ("0.0.0.0", "expected the one address"),  # noqa: S104 - refused
        ("::", "expected the one address"),
        ("localhost", "expected an IP address"),
        ("", "expected an IP address"),
    ],
)
def test_an_address_that_others_can_reach_is_refused(address: str, complaint: str) -> None:
    with pytest.raises(LocalSigstoreError, match=complaint) as raised:
        HttpServer(ROUTES, address=address)
    assert raised.value.code == "build.local_sigstore"


def test_who_insists_may_listen_elsewhere() -> None:
    # The address belongs to nobody, so the check has let it pass when the system refuses it.
    with pytest.raises(OSError, match="assign requested address"):
        HttpServer(ROUTES, address="192.0.2.1", unsafe_beyond_this_machine=True)
    with pytest.raises(LocalSigstoreError, match="expected the one address"):
        HttpServer(ROUTES, address="0.0.0.0", unsafe_beyond_this_machine=True)  # noqa: S104 - refused


def test_a_state_folder_that_cannot_be_used_is_told(server: HttpServer) -> None:
    answer = requests.get(f"{server.url}/broken", timeout=10)
    assert answer.status_code == 500
    assert answer.json()["message"] == "the state folder cannot be used: the disk is full"


def test_a_caller_that_drips_is_hung_up_on(server: HttpServer) -> None:
    request = posted(server, "Content-Length: 100")
    started = time.monotonic()
    with socket.create_connection(("127.0.0.1", port(server)), timeout=10) as connection:
        connection.settimeout(0.05)
        sent = 0
        while not hung_up(connection):
            connection.sendall(request[sent : sent + 1])
            sent += 1
    assert sent < len(request)
    assert 0.5 < time.monotonic() - started < 5


def hung_up(connection: socket.socket) -> bool:
    try:
        return connection.recv(1) == b""
    except TimeoutError:
        return False


def test_callers_beyond_the_limit_wait_for_their_turn(server: HttpServer) -> None:
    idle = [
        socket.create_connection(("127.0.0.1", port(server)), timeout=10)
        for _ in range(MAX_CONNECTIONS)
    ]
    try:
        before = threading.active_count()
        started = time.monotonic()
        answer = requests.get(f"{server.url}/echo", timeout=10)
        assert answer.status_code == 200
        assert time.monotonic() - started < 5
        assert before <= 2 * MAX_CONNECTIONS + 10
    finally:
        for connection in idle:
            connection.close()


def test_nothing_listens_when_the_block_has_ended() -> None:
    with HttpServer(ROUTES) as server:
        number = port(server)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), timeout=1)
