from __future__ import annotations

import asyncio

import pytest

from os_image.guest.health import Health, answers_ok


async def probe(response: bytes) -> bool:
    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(response)
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        return await answers_ok("127.0.0.1", port, "/health")


@pytest.mark.parametrize(
    ("response", "healthy"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", True),
        (b"HTTP/1.1 503 Loading\r\n\r\n", False),
        (b"", False),
        (b"200\r\n", False),
        (b"HTTP/1.1 200 " + b"x" * 1000 + b"\r\n", False),
    ],
)
def test_only_status_200_is_healthy(response: bytes, healthy: bool) -> None:
    assert asyncio.run(probe(response)) is healthy


def test_nobody_there_is_not_healthy() -> None:
    assert asyncio.run(answers_ok("127.0.0.1", 1, "/health")) is False


def test_many_callers_ask_the_application_once() -> None:
    asked = 0

    async def healthy() -> bool:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0)
        return True

    async def scenario() -> list[bool]:
        health = Health(healthy)
        return await asyncio.gather(*(health.healthy() for _ in range(50)))

    assert asyncio.run(scenario()) == [True] * 50
    assert asked == 1
