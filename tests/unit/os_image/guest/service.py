"""The attestation service under test, and a caller that speaks to its socket byte by byte."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from os_image.guest.attest import Limits, Settings

SPKI = b"a public key"
EVENTS = b'[{"pcr":15,"name":"sealed","data":""}]'


def make_settings(folder: Path, tcti: str) -> Settings:
    """Settings of a service whose files are in `folder`."""
    from os_image.guest.attest import parse_settings  # noqa: PLC0415 - where there is a TPM library

    for name, data in (("spki", SPKI), ("log", b"log"), ("events", EVENTS)):
        (folder / name).write_bytes(data)
    return parse_settings(
        [
            f"--socket={folder / 's'}",
            f"--tcti={tcti}",
            f"--spki={folder / 'spki'}",
            f"--event-log={folder / 'log'}",
            f"--app-events={folder / 'events'}",
            f"--app={folder / 'app.json'}",
        ]
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP response, taken apart."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(path: Path, request: bytes) -> Answer:
    """What the service on the UNIX socket `path` answers to these bytes."""
    reader, writer = await asyncio.open_unix_connection(path)
    writer.write(request)
    await writer.drain()
    # As a caller does that has said all: its half of the connection is closed.
    writer.write_eof()
    response = await asyncio.wait_for(reader.read(), 30)
    writer.close()
    await writer.wait_closed()
    head, _, body = response.partition(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    headers = dict(line.split(": ", 1) for line in lines)
    return Answer(status=int(first.split(" ")[1]), headers=headers, body=body)


def post(body: bytes) -> bytes:
    """A request for attestation with this body."""
    head = f"POST /attestation HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


@asynccontextmanager
async def serving(settings: Settings, limits: Limits | None = None) -> AsyncIterator[None]:
    """The attestation service with these settings, until the block ends."""
    from os_image.guest.attest import Limits, serve  # noqa: PLC0415 - where there is a TPM library

    task = asyncio.create_task(serve(settings, limits or Limits()))
    while not settings.socket.exists() and not task.done():  # noqa: ASYNC110 - all that it shows
        await asyncio.sleep(0.01)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def run(
    settings: Settings, scenario: Callable[[], Awaitable[None]], limits: Limits | None = None
) -> None:
    """Plays a scenario with a served service."""

    async def served() -> None:
        async with serving(settings, limits):
            await scenario()

    asyncio.run(served())


def nonce_body(nonce: bytes) -> bytes:
    """The body that asks for a quote of this nonce."""
    return json.dumps({"nonce": base64.b64encode(nonce).decode()}).encode()


def evidence(answer: Answer) -> dict[str, object]:
    """The document of an answer that must be one."""
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    document = json.loads(answer.body)
    assert isinstance(document, dict)
    return document
