"""One answer, read by a thread and given up by another; and what failures below are called."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import cast

import pytest
import urllib3
from urllib3.connection import HTTPConnection
from urllib3.exceptions import (
    ConnectTimeoutError,
    MaxRetryError,
    NameResolutionError,
    NewConnectionError,
    ProtocolError,
)

from blindllama._carrier import Answer, Outgoing
from blindllama._channel import parse_origin
from blindllama._failure import network_error
from blindllama._httpx import _Handover
from blindllama.errors import NetworkError
from blindllama.session import AttestedSession
from tests.simulators.attested_server import Server
from tests.simulators.transports import SECRET

ORIGIN = parse_origin("https://guest.example")


@pytest.fixture
def answer(session: AttestedSession, server: Server) -> Iterator[Answer]:
    """An answer of which one piece has come, and the rest does not."""
    end = threading.Event()

    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "9")
        handler.end_headers()
        handler.wfile.write(b"half")
        end.wait(30)
        handler.close_connection = True

    server.application = stall
    made = session._carrier.send(Outgoing(method="POST", target="/", body=SECRET.encode()))
    yield made
    made.close()
    end.set()


def test_an_answer_is_given_up_while_a_thread_waits_for_it(answer: Answer) -> None:
    assert answer.read() == b"half"
    caught: list[NetworkError] = []

    def read() -> None:
        with pytest.raises(NetworkError) as error:
            answer.read()
        caught.append(error.value)

    reader = threading.Thread(target=read)
    reader.start()
    while not answer._reading.locked():
        time.sleep(0.001)
    answer.close()
    reader.join(10)
    assert not reader.is_alive()
    assert len(caught) == 1


def test_an_answer_that_was_given_up_says_nothing(answer: Answer) -> None:
    answer.close()
    with pytest.raises(NetworkError, match="closed before its end"):
        answer.read()


def test_an_answer_for_a_task_that_is_gone_is_given_up(
    session: AttestedSession, server: Server
) -> None:
    handover = _Handover(session._carrier)
    answer = handover.send(Outgoing(method="POST", target="/v1/completions"))
    handover.abandon()
    with pytest.raises(NetworkError, match="closed before its end"):
        answer.read()


def test_t5_a_request_is_shown_without_what_it_says() -> None:
    outgoing = Outgoing(method="POST", target=f"/?{SECRET}", body=SECRET.encode())
    assert repr(outgoing) == "Outgoing(POST)"


CONNECTION = HTTPConnection("guest.example")
POOL = cast("urllib3.connectionpool.ConnectionPool", None)


def _new_connection(reason: OSError) -> NewConnectionError:
    error = NewConnectionError(CONNECTION, f"failed: {reason}")
    error.__cause__ = reason
    return error


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            NameResolutionError("guest.example", CONNECTION, socket.gaierror(-2, "unknown")),
            "the name of the server cannot be resolved",
        ),
        (ConnectTimeoutError(CONNECTION, "slow"), "no connection within the time allowed"),
        (_new_connection(ConnectionRefusedError(111, "Connection refused")), "Connection refused"),
        (_new_connection(OSError("no route")), "no route"),
        (TimeoutError("timed out"), "no answer within the time allowed"),
        (
            ProtocolError("Connection aborted.", ConnectionResetError(104, "Connection reset")),
            "Connection reset",
        ),
        (ProtocolError(SECRET), "the answer is not whole HTTP (ProtocolError)"),
    ],
)
def test_t5_a_failure_is_a_plain_sentence(error: Exception, told: str) -> None:
    for raised in (error, MaxRetryError(POOL, f"/?{SECRET}", error)):
        assert str(network_error(ORIGIN, raised)) == f"https://guest.example:443: {told}"
