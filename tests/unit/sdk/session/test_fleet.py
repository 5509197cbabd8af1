"""Several instances behind one address: each attests itself, by its own keys, on its own connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from blindllama.errors import Code, NetworkError, VerificationError
from blindllama.session import AttestedSession
from tests.simulators.ak_authority import Issuer, new_root
from tests.simulators.attested_client import new_session
from tests.simulators.attested_server import WORDS, Server
from tests.simulators.balancer import Balancer, balancing
from tests.simulators.instance import OTHER_APP, start_instance

ROOT: Issuer = new_root()


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """Two instances, and a session that knows only the balancer."""

    start: Callable[..., Server]
    """Starts another instance."""
    balancer: Balancer
    first: Server
    second: Server
    session: AttestedSession


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    with ExitStack() as stack:
        first, second = start_instance(stack, ROOT), start_instance(stack, ROOT)
        balancer = stack.enter_context(balancing(first.url, second.url))
        session = stack.enter_context(new_session(balancer.url, ROOT.fingerprint))

        def start(**changes: Any) -> Server:  # noqa: ANN401 - as start_instance
            return start_instance(stack, ROOT, **changes)

        yield Fleet(start=start, balancer=balancer, first=first, second=second, session=session)


def subject(fleet: Fleet) -> str:
    return fleet.session.report.checks[9].detail["key"]


def test_each_instance_attests_itself_once(fleet: Fleet) -> None:
    keys = set()
    for _ in range(6):
        assert fleet.session.completion("hello") == "".join(WORDS)
        keys.add(subject(fleet))
    for server in (fleet.first, fleet.second):
        assert (server.attestations, len(server.paths)) == (1, 3)
    assert len(keys) == 2


def test_a_session_survives_the_replacement_of_an_instance(fleet: Fleet) -> None:
    for _ in range(2):
        fleet.session.completion("before")
    new = fleet.start()
    fleet.balancer.replace(fleet.first.url, new.url)
    for _ in range(4):
        assert fleet.session.completion("after") == "".join(WORDS)
    assert (new.attestations, len(new.paths)) == (1, 2)
    assert (fleet.first.attestations, len(fleet.first.paths)) == (1, 1)
    assert fleet.second.attestations == 1


def test_an_instance_that_goes_in_the_middle_costs_one_request(fleet: Fleet) -> None:
    """It may have arrived, so it is not sent again by itself; the next one finds the new instance."""
    new = fleet.start()

    def vanish(_handler: object) -> None:
        fleet.balancer.replace(fleet.first.url, new.url)

    fleet.first.application = vanish
    with pytest.raises(NetworkError):
        fleet.session.completion("lost")
    assert len(fleet.first.paths) == 1
    for _ in range(2):
        assert fleet.session.completion("again") == "".join(WORDS)
    assert (new.attestations, len(new.paths)) == (1, 1)


def test_an_instance_that_goes_while_it_attests_has_seen_nothing(fleet: Fleet) -> None:
    new = fleet.start()
    fleet.session.completion("on the first")
    fleet.second.attesting = lambda: fleet.balancer.replace(fleet.second.url, new.url)
    with pytest.raises(NetworkError):
        fleet.session.completion("a secret")
    assert (fleet.second.attestations, fleet.second.application_bytes) == (1, 0)
    for _ in range(2):
        assert fleet.session.completion("again") == "".join(WORDS)
    assert new.attestations == 1


def test_an_instance_with_another_image_is_refused(fleet: Fleet) -> None:
    """The good ones beside it lend it nothing."""
    fleet.session.completion("first")
    fleet.session.completion("second")
    bad = fleet.start(app=OTHER_APP)
    fleet.balancer.replace(fleet.second.url, bad.url)
    fleet.session.completion("first again")
    with pytest.raises(VerificationError) as caught:
        fleet.session.completion("a secret")
    assert caught.value.code is Code.MEASUREMENT_MISMATCH
    assert (bad.attestations, bad.application_bytes) == (1, 0)
    assert fleet.session.completion("first again") == "".join(WORDS)


def test_t1_one_instance_cannot_answer_for_another(fleet: Fleet) -> None:
    """The evidence of a genuine instance is about its key, not about whoever passes it on."""
    fleet.session.completion("first")
    genuine = fleet.first.attester
    fleet.second.attester = genuine
    with pytest.raises(VerificationError) as caught:
        fleet.session.completion("a secret")
    assert caught.value.code is Code.EVIDENCE_KEY
    assert fleet.second.application_bytes == 0
