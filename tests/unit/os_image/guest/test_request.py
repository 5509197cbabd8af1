from __future__ import annotations

import asyncio
import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_image.guest.errors import RequestError
from os_image.guest.http_message import HEAD_LIMIT, Request, read_request, render_response
from os_image.guest.request import parse_nonce

NONCE = bytes(range(32))
TEXT = base64.b64encode(NONCE).decode()


def test_a_nonce_is_read() -> None:
    assert parse_nonce(json.dumps({"nonce": TEXT}).encode()) == NONCE


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'"nonce"',
        b"{}",
        b"[" * 4000,
        f'{{"nonce":"{TEXT}","more":1}}'.encode(),
        f'{{"nonce":"{TEXT}","nonce":"{TEXT}"}}'.encode(),
        b'{"nonce":NaN}',
        b'{"nonce":null}',
        b'{"nonce":32}',
        json.dumps({"nonce": list(NONCE)}).encode(),
        json.dumps({"nonce": NONCE.hex()}).encode(),
        json.dumps({"nonce": TEXT.rstrip("=")}).encode(),
        json.dumps({"nonce": TEXT + "="}).encode(),
        json.dumps({"nonce": TEXT + "\n"}).encode(),
        json.dumps({"nonce": TEXT[:-2] + "9="}).encode(),  # bits beyond the last byte
        json.dumps({"nonce": TEXT.replace("+", "-").replace("/", "_") + "é"}).encode(),
        json.dumps({"nonce": base64.b64encode(NONCE[:31]).decode()}).encode(),
        json.dumps({"nonce": base64.b64encode(NONCE + b"x").decode()}).encode(),
        json.dumps({"nonce": ""}).encode(),
    ],
)
def test_q3_any_other_body_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError) as caught:
        parse_nonce(body)
    assert (caught.value.code, caught.value.status) == ("guest.request", 400)
    assert TEXT not in str(caught.value)


@given(st.binary(max_size=200))
def test_no_bytes_raise_another_error(body: bytes) -> None:
    with pytest.raises(RequestError):
        parse_nonce(body)


def read(data: bytes) -> Request:
    async def feed() -> Request:
        reader = asyncio.StreamReader(limit=HEAD_LIMIT)
        reader.feed_data(data)
        reader.feed_eof()
        return await read_request(reader, body_limit=100)

    return asyncio.run(feed())


def test_a_request_is_read() -> None:
    request = read(b"POST /attestation?x=1 HTTP/1.1\r\nHost: x\r\ncontent-LENGTH: 3\r\n\r\nabcdef")
    assert request == Request(method="POST", path="/attestation", body=b"abc")
    assert read(b"GET /healthz HTTP/1.1\r\n\r\n").body == b""


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET / HTTP/2\r\n\r\n", 400),
        (b"GET  / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA: 1\r\n folded: 2\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nSpace : 1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: +1\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2\r\n\r\na", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nab", 400),
        (b"POST / HTTP/1.1\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 411),
        (b"POST / HTTP/1.1\r\nContent-Length: 101\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n", 400),
        (b"GET /" + b"x" * HEAD_LIMIT + b" HTTP/1.1\r\n\r\n", 431),
    ],
)
def test_a_malformed_request_is_refused(data: bytes, status: int) -> None:
    with pytest.raises(RequestError) as caught:
        read(data)
    assert caught.value.status == status


def test_a_response_ends_the_connection() -> None:
    response = render_response(200, b"ok", content_type="text/plain", headers={"X": "y"})
    head, _, body = response.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 200 OK"
    assert {b"Connection: close", b"Content-Length: 2", b"X: y"} < set(head.split(b"\r\n"))
    assert body == b"ok"
