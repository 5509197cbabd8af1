"""The real ingress in front of the real service: what slow callers can keep busy, and what not."""

from __future__ import annotations

import asyncio
import json
import ssl
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.conftest import locked_tree
from tests.simulators.native_ingress import Ingress, ingress

from .service import make_settings, nonce_body, post, run

if TYPE_CHECKING:
    from supply_chain.inputs.lock import Lock
    from supply_chain.inputs.store import Store
    from supply_chain.inputs.tree import Tree

    from .conftest import SoftwareTpm

pytestmark = [pytest.mark.swtpm, pytest.mark.root]

NONCE = bytes(32)
SLOW = 20


@pytest.fixture(scope="module")
def guest_tree(lock: Lock, store: Store) -> Tree:
    return locked_tree("rootfs", lock, store)


def answered(connection: ssl.SSLSocket) -> tuple[int, bytes]:
    """Status and body of the one answer to a request that says `Connection: close`."""
    received = b""
    while piece := connection.recv(65536):
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def closing(request: bytes) -> bytes:
    return request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)


def asked(running: Ingress) -> tuple[int, bytes]:
    with running.connect() as connection:
        connection.sendall(closing(post(nonce_body(NONCE))))
        return answered(connection)


@pytest.mark.parametrize("missing", [1, len(nonce_body(NONCE))], ids=["one byte", "the body"])
def test_requests_that_are_not_whole_never_reach_the_service(
    tmp_path: Path, guest_tree: Tree, software_tpm: SoftwareTpm, missing: int
) -> None:
    """A service that may hold two connections serves a caller beside twenty slow ones."""
    from os_image.guest.attest import Limits  # noqa: PLC0415 - only where there is a TPM library

    settings = make_settings(tmp_path, software_tpm.tcti)

    def play(running: Ingress) -> None:
        slow = [running.connect() for _ in range(SLOW)]
        try:
            for connection in slow:
                connection.sendall(post(nonce_body(NONCE))[:-missing])
            status, body = asked(running)
            assert (status, json.loads(body)["nonce_path"]["leaves"]) == (200, 1)
        finally:
            for connection in slow:
                connection.close()

    async def scenario() -> None:
        folder = tmp_path / "ingress"
        folder.mkdir()
        with ingress(guest_tree, folder, attest=settings.socket, application=9) as running:
            await asyncio.to_thread(play, running)

    run(settings, scenario, Limits(connections=2))


def test_overload_is_passed_on_with_its_time(
    tmp_path: Path, guest_tree: Tree, software_tpm: SoftwareTpm
) -> None:
    """503 and Retry-After come through; a service that is not there is 502, and no evidence."""
    from os_image.guest.attest import Limits  # noqa: PLC0415 - only where there is a TPM library

    settings = make_settings(tmp_path, software_tpm.tcti)

    async def scenario() -> None:
        folder = tmp_path / "ingress"
        folder.mkdir()
        with ingress(guest_tree, folder, attest=settings.socket, application=9) as running:
            status, body = await asyncio.to_thread(asked, running)
            assert (status, list(json.loads(body))) == (503, ["error"])
            settings.socket.unlink()
            assert await asyncio.to_thread(asked, running) == (502, b"")

    run(settings, scenario, Limits(callers=0))
