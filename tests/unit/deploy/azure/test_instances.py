"""The end of a fleet's deployment: every instance behind the balancer passes the ten checks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field

import pytest

from blindllama import AttestedSession, NetworkError, VerificationError
from blindllama.errors import Code
from blindllama.report import Status
from deploy.azure.errors import AzureError, Reason
from deploy.azure.instances import RETRY_S, wait_for_instances
from supply_chain.progress import SilentProgress
from tests.simulators.ak_authority import Issuer, new_root
from tests.simulators.attested_client import new_session
from tests.simulators.attested_server import Server
from tests.simulators.balancer import Balancer, balancing
from tests.simulators.instance import OTHER_APP, start_instance

ROOT: Issuer = new_root()


@dataclass(kw_only=True)
class Scene:
    """A balancer with instances, and a time that passes only by waiting."""

    stack: ExitStack
    balancer: Balancer
    servers: list[Server]
    naps: list[float] = field(default_factory=list)
    connections: int = 0

    def connect(self) -> AttestedSession:
        self.connections += 1
        session = new_session(self.balancer.url, ROOT.fingerprint)
        try:
            session.attest()
        except BaseException:
            session.close()
            raise
        return session

    def wait(self, instances: int) -> list[str]:
        found = wait_for_instances(
            self.connect,
            instances=instances,
            patience_s=12,
            # A look at the clock takes a moment, so that a fleet that never grows ends too.
            elapsed=lambda: sum(self.naps) + 0.5 * self.connections,
            sleep=self.naps.append,
            progress=SilentProgress(),
        )
        for report in found.values():
            assert {check.status for check in report.checks[5:]} == {Status.PASSED}
        return list(found)


@pytest.fixture
def scene() -> Iterator[Scene]:
    with ExitStack() as stack:
        servers = [start_instance(stack, ROOT) for _ in range(3)]
        balancer = stack.enter_context(balancing(*(server.url for server in servers)))
        yield Scene(stack=stack, balancer=balancer, servers=servers)


def test_each_instance_is_attested_by_its_own_key(scene: Scene) -> None:
    keys = scene.wait(3)
    assert len(set(keys)) == 3
    assert [server.attestations for server in scene.servers] == [1, 1, 1]
    assert scene.naps == []
    assert sum(server.application_bytes for server in scene.servers) == 0


def test_fewer_than_there_should_be_are_said_so(scene: Scene) -> None:
    with pytest.raises(AzureError, match=r"expected 4 instances .* got 3") as caught:
        scene.wait(4)
    assert caught.value.reason is Reason.GUEST


def test_instances_that_come_late_are_waited_for(scene: Scene) -> None:
    connect = scene.connect

    def late() -> AttestedSession:
        if len(scene.naps) < 2:
            raise NetworkError("nobody listens yet")
        return connect()

    scene.connect = late  # type: ignore[method-assign]
    assert len(scene.wait(3)) == 3
    assert scene.naps == [RETRY_S, RETRY_S]


def test_a_fleet_that_never_answers_is_said_so(scene: Scene) -> None:
    def never() -> AttestedSession:
        raise NetworkError("nobody listens")

    scene.connect = never  # type: ignore[method-assign]
    with pytest.raises(AzureError, match=r"got 0 \(last: nobody listens\)"):
        scene.wait(1)


def test_an_instance_of_another_release_counts_when_it_was_replaced(scene: Scene) -> None:
    old = start_instance(scene.stack, ROOT, app=OTHER_APP)
    genuine = scene.servers[0].url
    scene.balancer.replace(genuine, old.url)
    scene.naps.append(0)
    with pytest.raises(VerificationError) as caught:
        scene.wait(3)
    assert caught.value.code is Code.MEASUREMENT_MISMATCH
    assert old.application_bytes == 0
    scene.balancer.replace(old.url, genuine)
    scene.naps.clear()
    scene.connections = 0
    assert len(scene.wait(3)) == 3


def test_what_no_release_explains_ends_it_at_once(scene: Scene) -> None:
    scene.servers[0].attester = scene.servers[1].attester  # evidence of another instance
    with pytest.raises(VerificationError) as caught:
        scene.wait(3)
    assert caught.value.code is Code.EVIDENCE_KEY
    assert scene.naps == []
