"""A guest on loopback and a session with it.

The server's attestation key is software: what only a TPM can show is in test_swtpm.py.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from blindllama.errors import Code, VerificationError
from blindllama.session import AttestedSession
from tests.simulators.attested_client import Clock, Stopwatch, new_session
from tests.simulators.attested_server import Server, TlsKey, attested_server
from tests.simulators.booted_guest import BootedGuest, Papers, boot
from tests.simulators.software_ak import SoftwareAk, SoftwareQuoter

AK = SoftwareAk.make_rsa()
KEY, OTHER_KEY = TlsKey(), TlsKey()


@pytest.fixture
def guest() -> BootedGuest:
    quoter = SoftwareQuoter(ak=AK)
    boot(quoter)
    return BootedGuest(quoter=quoter, papers=Papers.of(quoter), spki=KEY.spki)


@pytest.fixture
def server(guest: BootedGuest) -> Iterator[Server]:
    with attested_server(guest, KEY) as running:
        yield running


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def elapsed() -> Stopwatch:
    return Stopwatch()


@pytest.fixture
def session(
    server: Server, guest: BootedGuest, clock: Clock, elapsed: Stopwatch
) -> Iterator[AttestedSession]:
    with new_session(server.url, guest.papers.root, clock=clock, elapsed=elapsed) as made:
        yield made


def refused(session: AttestedSession, server: Server, code: Code) -> VerificationError:
    """Check the refusal of a first connection: its code, its report, and the server's silence."""
    with pytest.raises(VerificationError) as caught:
        session.attest()
    assert caught.value.code is code
    assert caught.value.report is not None
    assert caught.value.report is session.report
    failure = caught.value.report.failure
    assert failure is not None
    assert (failure.step, failure.detail["code"]) == (caught.value.step, code.value)
    assert server.application_bytes == 0
    with pytest.raises(VerificationError) as again:
        session.completion("a secret")
    assert again.value.code is code
    assert server.application_bytes == 0
    return caught.value
