"""Many callers, slow ones and hostile ones: counted, never timed."""

from __future__ import annotations

import asyncio
import json
import threading
from typing import TYPE_CHECKING

import pytest

from tests.simulators.tpm_proxy import QUOTE, TpmProxy, proxied

from .conftest import SoftwareTpm
from .service import Answer, ask, evidence, make_settings, nonce_body, post, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from os_image.guest.attest import Settings

pytestmark = pytest.mark.swtpm

NONCE = bytes(32)
CROWD = 256


class Gate:
    """Holds quotes back until a test opens it."""

    def __init__(self) -> None:
        self.reached = threading.Event()
        self.opened = threading.Event()

    def __call__(self) -> Sequence[bytes]:
        self.reached.set()
        self.opened.wait(30)
        return ()


@pytest.fixture
def proxy(software_tpm: SoftwareTpm) -> Iterator[TpmProxy]:
    with proxied(software_tpm.tcti) as between:
        yield between


@pytest.fixture
def settings(tmp_path: Path, proxy: TpmProxy) -> Settings:
    return make_settings(tmp_path, proxy.tcti)


async def asked(settings: Settings, number: int) -> int:
    """How many callers shared the quote that this caller got."""
    document = evidence(await ask(settings.socket, post(nonce_body(number.to_bytes(32, "big")))))
    path = document["nonce_path"]
    assert isinstance(path, dict)
    return int(path["leaves"])


def test_a_caller_alone_takes_one_quote_for_itself(settings: Settings, proxy: TpmProxy) -> None:
    async def scenario() -> None:
        for number in range(3):
            assert await asked(settings, number) == 1
            assert proxy.counts[QUOTE] == number + 1

    run(settings, scenario)


def test_who_comes_during_a_quote_shares_the_next(settings: Settings, proxy: TpmProxy) -> None:
    """One quote for the first, and at most two for all others, however many they are."""
    gate = proxy.rules[QUOTE] = Gate()

    async def scenario() -> None:
        first = asyncio.create_task(asked(settings, 0))
        await asyncio.to_thread(gate.reached.wait, 30)
        others = [asyncio.create_task(asked(settings, number)) for number in range(1, CROWD)]
        # Connections are taken in order: when this one is answered, the others have been read.
        assert (await ask(settings.socket, b"GET / HTTP/1.1\r\n\r\n")).status == 404
        gate.opened.set()
        assert await first == 1
        shared = await asyncio.gather(*others)
        assert max(shared) > CROWD / 2
        assert proxy.counts[QUOTE] <= 3

    run(settings, scenario)


def test_overload_is_told_to_come_back(settings: Settings, proxy: TpmProxy) -> None:
    """Beyond the limit the answer is 503 at once; those who waited are served."""
    from os_image.guest.attest import Limits  # noqa: PLC0415 - only where there is a TPM library

    gate = proxy.rules[QUOTE] = Gate()

    async def scenario() -> None:
        first = asyncio.create_task(asked(settings, 0))
        await asyncio.to_thread(gate.reached.wait, 30)
        asking = [
            asyncio.create_task(ask(settings.socket, post(nonce_body(bytes([n]) * 32))))
            for n in range(8)
        ]
        done: set[asyncio.Task[Answer]] = set()
        while len(done) < 4:
            done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            refused = task.result()
            assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
            assert "Too many callers" in json.loads(refused.body)["error"]
        gate.opened.set()
        assert await first == 1
        answers = await asyncio.gather(*asking)
        assert sorted(answer.status for answer in answers) == [200] * 4 + [503] * 4
        assert await asked(settings, 5) == 1

    run(settings, scenario, Limits(callers=4))


def test_more_connections_than_there_may_be_are_closed(settings: Settings) -> None:
    from os_image.guest.attest import Limits  # noqa: PLC0415 - only where there is a TPM library

    async def scenario() -> None:
        held = [await asyncio.open_unix_connection(settings.socket) for _ in range(4)]
        reader, writer = await asyncio.open_unix_connection(settings.socket)
        assert await reader.read() == b""
        writer.close()
        for _, other in held:
            other.close()
            await other.wait_closed()

    run(settings, scenario, Limits(connections=4))


HOSTILE = {
    "says nothing": b"",
    "stops in the head": b"POST /attestation HTTP/1.1\r\nHost: x\r\nContent-Le",
    "stops in the body": post(nonce_body(NONCE))[:-10],
    "does not read": post(nonce_body(NONCE)),
    "sends no end of head": b"POST /attestation HTTP/1.1\r\n" + b"X: y\r\n" * 20000,
    "promises a mebibyte": b"POST /attestation HTTP/1.1\r\nContent-Length: 1048576\r\n\r\n",
}


@pytest.mark.parametrize("said", HOSTILE.values(), ids=HOSTILE.keys())
@pytest.mark.parametrize("closed", [False, True], ids=["open", "half-closed"])
def test_hostile_callers_delay_nobody(
    settings: Settings, proxy: TpmProxy, said: bytes, closed: bool
) -> None:
    """While a hundred of them hold their connections, a caller is served as if it were alone."""
    # An answer that does not fit into a socket's buffer, for the one that does not read.
    settings.event_log.write_bytes(bytes(1 << 20))

    async def scenario() -> None:
        assert await asked(settings, 0) == 1
        callers = [await asyncio.open_unix_connection(settings.socket) for _ in range(100)]
        for _, writer in callers:
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(said)
            if closed:
                writer.write_eof()
        await asyncio.sleep(0)
        await asked(settings, 1)
        before = proxy.counts[QUOTE]
        assert await asked(settings, 2) == 1
        assert proxy.counts[QUOTE] == before + 1
        for _, writer in callers:
            writer.transport.abort()

    run(settings, scenario)


@pytest.mark.parametrize(
    ("said", "status"),
    [(HOSTILE["says nothing"], 408), (HOSTILE["stops in the body"], 408)],
    ids=["says nothing", "stops in the body"],
)
def test_a_slow_caller_is_let_go(settings: Settings, said: bytes, status: int) -> None:
    from os_image.guest.attest import Limits  # noqa: PLC0415 - only where there is a TPM library

    async def scenario() -> None:
        reader, writer = await asyncio.open_unix_connection(settings.socket)
        writer.write(said)
        answer = await reader.read()
        assert answer.startswith(b"HTTP/1.1 %d " % status)
        writer.close()

    run(settings, scenario, Limits(request_s=0.05))


def test_a_tpm_that_hangs_gives_503_and_no_evidence(settings: Settings, proxy: TpmProxy) -> None:
    from os_image.guest.attest import Limits  # noqa: PLC0415 - only where there is a TPM library

    gate = proxy.rules[QUOTE] = Gate()

    async def scenario() -> None:
        for _ in range(2):
            answer = await ask(settings.socket, post(nonce_body(NONCE)))
            assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
            assert json.loads(answer.body)["error"].startswith("No quote can be made now")
        gate.opened.set()

    run(settings, scenario, Limits(answer_s=0.2))


def test_a_tpm_that_is_gone_gives_503_until_it_is_back(settings: Settings, proxy: TpmProxy) -> None:
    async def scenario() -> None:
        assert await asked(settings, 0) == 1
        proxy.gone = True
        answer = await ask(settings.socket, post(nonce_body(NONCE)))
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        proxy.gone = False
        assert await asked(settings, 1) == 1

    run(settings, scenario)
