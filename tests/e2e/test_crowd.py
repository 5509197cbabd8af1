"""Many callers of one booted guest, and hostile ones among them: counted, never timed."""

from __future__ import annotations

import contextlib
import json
import ssl
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from blindllama import Policy, verify_and_connect, verify_evidence
from blindllama.measurements import PlatformName
from deploy.qemu import vm
from standing import Published
from tests.e2e.raw import Claimed, ask_evidence, opened

pytestmark = pytest.mark.e2e

CALLERS = 12
OF_EACH_KIND = 4
PATIENCE_S = 60
"""Until all callers are connected: their handshakes are emulated too."""

HOSTILE: Mapping[str, bytes] = {
    "silent": b"",
    "stops in the head": b"POST /attestation HTTP/1.1\r\nHost: guest\r\nContent-Le",
    "stops in the body": b"POST /attestation HTTP/1.1\r\nHost: guest\r\nContent-Length: 60\r\n\r\n{",
    "stops in a prompt": b"POST /v1/completions HTTP/1.1\r\nHost: guest\r\n"
    b"Content-Type: application/json\r\nContent-Length: 999\r\n\r\n{",
}


def test_callers_at_once_share_quotes_that_each_can_verify(
    guest: vm.Guest, published: Published
) -> None:
    """Each nonce is under a signed root, beside nonces of others."""
    nonces = [bytes([number]) * 32 for number in range(CALLERS)]
    policy = Policy.from_file(published.policy)

    together = threading.Barrier(CALLERS, timeout=PATIENCE_S)

    def verified(nonce: bytes) -> Claimed:
        with opened(guest.url) as connection:
            together.wait()
            claimed = ask_evidence(connection, nonce)
        verify_evidence(
            claimed.document,
            expected=published.verified.expected,
            platform=PlatformName.QEMU_SWTPM,
            roots=frozenset(bytes.fromhex(root) for root in policy.vtpm.roots),
            nonce=nonce,
            spki=claimed.spki,
            now=datetime.now(UTC),
        )
        return claimed

    with ThreadPoolExecutor(CALLERS) as pool:
        documents = [json.loads(claimed.document) for claimed in pool.map(verified, nonces)]
    quotes = {document["quote"]["signature"] for document in documents}
    assert len(quotes) < CALLERS
    assert max(document["nonce_path"]["leaves"] for document in documents) > 1


def test_hostile_callers_keep_nobody_from_an_answer(guest: vm.Guest, published: Published) -> None:
    """Others speak half a request, or none, and get nothing; a client among them is served."""
    with contextlib.ExitStack() as stack:
        callers = []
        for said in [*HOSTILE.values()] * OF_EACH_KIND:
            socket = stack.enter_context(opened(guest.url)).sock
            assert isinstance(socket, ssl.SSLSocket)
            socket.sendall(said)
            callers.append(socket)
        with verify_and_connect(
            guest.url, release=published.evidence, policy=published.policy
        ) as session:
            assert session.completion("The capital of France is", max_tokens=2)
        assert not any(_was_served(caller) for caller in callers)


def _was_served(caller: ssl.SSLSocket) -> bool:
    """Whether a caller got what it did not ask for.

    Caddy ends a request whose time is over with 200 and nothing, where the caller had stopped.
    """
    caller.setblocking(False)
    try:
        said = caller.recv(4096)
    except (ssl.SSLWantReadError, ConnectionError):
        return False
    return said.startswith(b"HTTP/1.1 200") and b"\r\nContent-Length: 0\r\n" not in said
