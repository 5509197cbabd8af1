"""The power is cut while the guest answers: it comes back the same, with a new key."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from blindllama import NetworkError, VerificationError, verify_and_connect
from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from standing import Published
from tests.e2e.raw import Claimed, claimed_evidence
from tests.simulators import power

NONCE = bytes(range(32))


@pytest.mark.parametrize(
    "cuts",
    [pytest.param(1, marks=pytest.mark.e2e), pytest.param(10, marks=pytest.mark.soak)],
)
def test_a_guest_comes_back_the_same_with_a_new_key(
    site: Site, published: Published, tmp_path: Path, cuts: int
) -> None:
    """All sixteen registers are equal, the TPM counts the resets, and no TLS key is seen twice."""
    parts = deployed.release_parts(site.workspace, now=site.clock())
    seen: list[Claimed] = []
    for number in range(cuts + 1):
        guest = vm.boot(tmp_path / "guest", parts, now=site.clock(), progress=site.progress)
        try:
            seen.append(claimed_evidence(guest.url, NONCE))
            with _asking(guest.url, published):
                keep = tmp_path / f"kept-{number}"
                keep.mkdir()
                parts = power.cut(guest, parts, keep)
        finally:
            vm.down(guest.directory)

    documents = [json.loads(claimed.document) for claimed in seen]
    first = documents[0]
    assert all(document["pcrs"] == first["pcrs"] for document in documents)
    expected = published.verified.expected.values
    assert all(first["pcrs"]["sha256"][pcr] == value.hex() for pcr, value in expected.items())
    assert len({claimed.spki for claimed in seen}) == cuts + 1
    resets = [document["clock"]["reset_count"] for document in documents]
    assert resets == [resets[0] + number for number in range(cuts + 1)]


@contextlib.contextmanager
def _asking(url: str, published: Published) -> Iterator[None]:
    """A client that waits for a long answer while the block runs, and must not get one made up."""
    started = threading.Event()
    answers: list[str] = []

    def ask() -> None:
        try:
            with verify_and_connect(
                url, release=published.evidence, policy=published.policy
            ) as session:
                for piece in session.stream_completion("Once upon a time", max_tokens=400):
                    answers.append(piece)
                    started.set()
        except (NetworkError, VerificationError):
            pass
        finally:
            started.set()

    client = threading.Thread(target=ask)
    client.start()
    started.wait()
    try:
        yield
    finally:
        client.join()
    assert 0 < len(answers) < 400
