"""A deployment that is refused, fails, is interrupted or killed: all is named, and it goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, replace

import pytest

from deploy.azure.arm import POLL_S
from deploy.azure.errors import AzureError, Reason
from deploy.azure.plan import Action
from deploy.azure.wanted import Wanted
from tests.simulators.arm import Answer, Asked, Fault
from tests.simulators.page_blob import Door, Request
from tests.unit.deploy.azure.conftest import Deployer, config_text
from tests.unit.deploy.azure.deployments import changes, failed, goes_on_and_comes_down

pytestmark = pytest.mark.azure
MIB = 1 << 20


BUSY = Answer(
    status=429,
    body={"error": {"code": "TooManyRequests", "message": "later"}},
    headers={"Retry-After": "0"},
)


@dataclass(slots=True, kw_only=True)
class NthChange(Fault):
    """A fault of one request, counted among those that change something."""

    left: int

    def fits(self, asked: Asked) -> bool:
        self.left -= asked.verb != "GET"
        return asked.verb != "GET" and self.left == 0


def refusal(status: int, code: str, message: str = "no") -> Answer:
    return Answer(status=status, body={"error": {"code": code, "message": message}})


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(401, "ExpiredAuthenticationToken"), Reason.NOT_LOGGED_IN),
        (refusal(403, "AuthorizationFailed"), Reason.PERMISSION),
        (refusal(404, "ResourceGroupNotFound"), Reason.MISSING),
        (refusal(404, "SubscriptionNotFound"), Reason.SUBSCRIPTION),
        (refusal(409, "AnotherOperationInProgress"), Reason.CONFLICT),
        (refusal(409, "OperationNotAllowed", "exceeding approved Cores quota"), Reason.CAPACITY),
        (refusal(409, "SkuNotAvailable"), Reason.CAPACITY),
        (refusal(400, "InvalidParameter"), Reason.REFUSED),
        (BUSY, Reason.UNAVAILABLE),
        (refusal(500, "InternalServerError"), Reason.UNAVAILABLE),
    ],
)
@pytest.mark.parametrize("ends", ["/resourceGroups/group", "/virtualMachines/llama"])
def test_each_fault_has_a_reason_and_the_next_run_goes_on(
    deployer: Deployer, wanted: list[Wanted], answer: Answer, reason: Reason, ends: str
) -> None:
    deployer.running.arm.faults.append(Fault(verb="PUT", ends=ends, answer=answer))
    assert failed(deployer, wanted).reason is reason
    goes_on_and_comes_down(deployer, wanted)


@pytest.mark.parametrize("ends", ["/llama-card", "/virtualMachines/llama"])
def test_an_operation_that_fails_late_leaves_what_is_named_and_is_mended(
    deployer: Deployer, wanted: list[Wanted], ends: str
) -> None:
    deployer.running.arm.faults.append(Fault(verb="PUT", ends=ends))
    assert failed(deployer, wanted).reason is Reason.CAPACITY
    assert "Failed" in {it.state for it in deployer.running.arm.store}
    goes_on_and_comes_down(deployer, wanted)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("status", [429, 500])
# Azure's library drops the connection of an answer that it does not read.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_may_succeed_later_is_asked_again(
    deployer: Deployer, wanted: list[Wanted], status: int, after: bool
) -> None:
    answer = replace(BUSY, status=status)
    for one in wanted:
        deployer.running.arm.faults.append(
            Fault(verb="PUT", ends=one.identifier, answer=answer, after=after)
        )
    deployer.run(wanted, retries=2)
    assert deployer.running.arm.faults == []
    assert deployer.standing == {one.identifier for one in wanted} == deployer.recorded


def test_a_machine_that_fails_to_go_is_asked_to_go_again(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    deployer.run(wanted)
    deployer.running.arm.faults.append(Fault(verb="DELETE", ends="/virtualMachines/llama"))
    with pytest.raises(AzureError) as caught:
        deployer.down()
    assert caught.value.reason is Reason.CAPACITY
    assert deployer.standing == {one.identifier for one in wanted} == deployer.recorded
    assert deployer.down() == []
    assert deployer.standing == set()


@pytest.mark.parametrize("after", [False, True])
def test_interrupted_at_any_request_nothing_is_unnamed_and_it_goes_on(
    deployer: Deployer, wanted: list[Wanted], after: bool
) -> None:
    """Each request in turn fails, before or after it took effect; then the next run, then down."""
    broken = refusal(500, "InternalServerError")
    # Each resource is made, and two disks are opened and closed.
    total = len(wanted) + 4
    for number in range(1, total + 1):
        deployer.running.arm.faults = [
            NthChange(verb="", ends="", answer=broken, after=after, left=number)
        ]
        assert failed(deployer, wanted).reason is Reason.UNAVAILABLE
        goes_on_and_comes_down(deployer, wanted)
    before = len(changes(deployer))
    deployer.run(wanted)
    assert len(changes(deployer)) - before == total


def test_a_signature_that_ends_on_the_way_is_renewed(
    deployer: Deployer, wanted: list[Wanted], door: Door
) -> None:
    asked: list[str] = []

    def answered(_number: int, request: Request) -> tuple[int, dict[str, str]] | None:
        asked.append(request.signature)
        return (403, {}) if len(asked) > 2 and request.signature == asked[0] else None

    door.answered = answered
    deployer.run(wanted)
    grants = [verb for verb in changes(deployer) if verb[0] == "POST"]
    assert len(grants) == 2 * 2 + 1
    assert deployer.standing == {one.identifier for one in wanted}


def test_a_disk_that_azure_does_not_take_is_said_so(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    deployer.running.arm.broken_tails = True
    assert failed(deployer, wanted).reason is Reason.DISK
    deployer.running.arm.broken_tails = False
    goes_on_and_comes_down(deployer, wanted)


@pytest.mark.parametrize(
    "ends", ["beginGetAccess", "endGetAccess", "/llama-card", "/virtualMachines/llama"]
)
def test_killed_while_azure_works_the_next_run_waits_and_goes_on(
    deployer: Deployer, wanted: list[Wanted], ends: str
) -> None:
    """The run that is killed is a process of its own, and is killed once Azure has begun."""
    child: list[subprocess.Popen[bytes]] = []
    started, begun = threading.Event(), threading.Event()

    def asking(asked: Asked) -> None:
        if begun.is_set() and child[0].poll() is None:
            started.wait()
            os.kill(child[0].pid, signal.SIGKILL)
        if asked.verb != "GET" and asked.path.lower().endswith(ends.lower()):
            begun.set()

    deployer.running.arm.asking = asking
    code = (
        "import sys; from pathlib import Path; from tests.unit.deploy.azure.child import deploy;"
        "deploy(Path(sys.argv[1]))"
    )
    (deployer.home / "deploy.toml").write_text(config_text(deployer.running))
    child.append(subprocess.Popen([sys.executable, "-c", code, str(deployer.home)]))
    started.set()
    assert child[0].wait(60) == -signal.SIGKILL
    assert deployer.standing <= deployer.recorded
    goes_on_and_comes_down(deployer, wanted)
    # What Azure was still making when the first run was killed was not asked for again.
    asked = [it for it in deployer.running.arm.asked if it.verb in {"PUT", "POST"}]
    times = sum(it.path.lower().endswith(ends.lower()) for it in asked)
    assert times == 1 or ends.endswith("Access")


def test_what_never_ends_is_given_up_and_stays_named(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    deployer.run(wanted)
    (machine,) = (it for it in deployer.running.arm.store if it.kind.endswith("machines"))
    machine.state = "Updating"
    with pytest.raises(AzureError, match="Updating for half an hour") as caught:
        deployer.down()
    assert caught.value.reason is Reason.CONFLICT
    assert set(deployer.waits) == {POLL_S}
    assert deployer.recorded == deployer.standing


def test_a_disk_whose_access_others_ended_half_way_is_made_and_filled_again(
    deployer: Deployer, wanted: list[Wanted], door: Door
) -> None:
    door.answered = lambda _number, request: (412, {}) if request.is_put_page else None
    with pytest.raises(AzureError) as caught:
        deployer.run(wanted)
    assert caught.value.reason is Reason.UPLOAD_REFUSED
    (disk,) = (it for it in deployer.running.arm.store if it.kind.endswith("disks"))
    disk.computed["diskState"] = "Unattached"
    door.answered = lambda _number, _request: None
    before = door.sent_bytes()
    steps = deployer.run(wanted)
    assert [step.action for step in steps[:2]] == [Action.KEEP, Action.REPLACE]
    assert door.sent_bytes() - before == 2 * (4096 + 512)
    assert deployer.standing == {one.identifier for one in wanted} == deployer.recorded
