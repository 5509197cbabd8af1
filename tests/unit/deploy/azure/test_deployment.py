"""A deployment to the simulated Azure: from nothing, again, interrupted everywhere, and down."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from deploy.azure.arm import POLL_S
from deploy.azure.errors import AzureError, Reason
from deploy.azure.guest import guest_address
from deploy.azure.machine import machine_resources
from deploy.azure.plan import Action
from deploy.azure.upload import Image
from deploy.azure.wanted import BODY_TAG, NAME_TAG, Kind, Wanted, kind_of
from supply_chain.digest import sha256_file
from tests.simulators.arm import PRIVATE_ADDRESS, PUBLIC_ADDRESS, TOKEN, Answer, Asked, Fault
from tests.simulators.page_blob import Door, Request
from tests.unit.deploy.azure.conftest import Deployer, config_text

pytestmark = pytest.mark.azure
MIB = 1 << 20


def sparse(path: Path, byte: bytes) -> Image:
    with path.open("wb") as file:
        file.truncate(21 * MIB)
        file.write(byte * 4096)
    return Image(path=path, sha256=sha256_file(path))


@pytest.fixture
def wanted(deployer: Deployer, tmp_path: Path) -> list[Wanted]:
    images = tmp_path / "images"
    images.mkdir()
    return machine_resources(
        deployer.config(), system=sparse(images / "os", b"o"), app=sparse(images / "app", b"a")
    )


def changes(deployer: Deployer) -> list[tuple[str, str]]:
    """Every request that changes something: its verb, and the kind of what it is about."""
    asked = (it for it in deployer.running.arm.asked if it.verb != "GET")
    return [(it.verb, it.path.rsplit("/", 2)[1].lower()) for it in asked]


def failed(deployer: Deployer, wanted: list[Wanted]) -> AzureError:
    """How a run fails; whatever it has left in Azure is named in its record."""
    with pytest.raises(AzureError) as caught:
        deployer.run(wanted)
    assert deployer.standing <= deployer.recorded
    return caught.value


def goes_on_and_comes_down(deployer: Deployer, wanted: list[Wanted]) -> None:
    deployer.run(wanted)
    assert deployer.standing == {one.identifier for one in wanted} == deployer.recorded
    assert {it.state for it in deployer.running.arm.store} == {"Succeeded"}
    assert deployer.down() == []
    assert deployer.standing == set() == deployer.recorded


def test_from_nothing_to_a_machine_and_down_again(
    deployer: Deployer, wanted: list[Wanted], door: Door
) -> None:
    steps = deployer.run(wanted)
    assert {step.action for step in steps} == {Action.MAKE}
    assert deployer.standing == {one.identifier for one in wanted} == deployer.recorded
    disks = [it for it in deployer.running.arm.store if it.kind == "microsoft.compute/disks"]
    assert [disk.computed["diskState"] for disk in disks] == ["Attached"] * 2
    # Two images of 4096 bytes, two footers of 512.
    assert door.sent_bytes() == 2 * (4096 + 512)
    for resource in deployer.running.arm.store:
        assert resource.body["tags"][NAME_TAG] == "llama"
        assert len(resource.body["tags"][BODY_TAG]) == 32
    with deployer.open() as deployment:
        assert guest_address(deployment.arm, wanted) == PUBLIC_ADDRESS
    assert deployer.down() == []
    assert deployer.standing == set() == deployer.recorded


def test_what_the_machine_gets_is_what_is_measured_and_nothing_else(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    deployer.run(wanted)
    sent = {it.path: it.body for it in deployer.running.arm.asked if it.verb == "PUT"}
    machine = sent[wanted[-1].identifier]["properties"]
    assert "osProfile" not in machine
    assert machine["securityProfile"]["uefiSettings"]["vTpmEnabled"] is True
    assert machine["diagnosticsProfile"]["bootDiagnostics"]["enabled"] is False
    assert not [path for path in sent if "extensions" in path.lower()]
    (rules,) = (body for path, body in sent.items() if "networkSecurityGroups" in path)
    allowed = [
        rule["properties"]
        for rule in rules["properties"]["securityRules"]
        if rule["properties"]["access"] == "Allow"
    ]
    assert [(it["direction"], it["destinationPortRange"]) for it in allowed] == [("Inbound", "443")]


def test_a_second_run_changes_nothing_but_the_rules_and_uploads_nothing(
    deployer: Deployer, wanted: list[Wanted], door: Door
) -> None:
    deployer.run(wanted)
    sent, asked = door.sent_bytes(), len(changes(deployer))
    steps = deployer.run(wanted)
    assert [step.action for step in steps] == [
        Action.SET if one.kind is Kind.RULES else Action.KEEP for one in wanted
    ]
    assert changes(deployer)[asked:] == [("PUT", "networksecuritygroups")]
    assert door.sent_bytes() == sent


def test_a_plan_asks_and_changes_nothing(
    deployer: Deployer, wanted: list[Wanted], door: Door
) -> None:
    with deployer.open() as deployment:
        steps = deployment.plan(wanted)
    assert [step.action for step in steps] == [Action.MAKE] * len(wanted)
    assert [step.uploads for step in steps] == [one.image is not None for one in wanted]
    assert changes(deployer) == []
    assert door.requests == []
    assert deployer.recorded == set()


def test_rules_that_others_have_changed_are_set_again(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    deployer.run(wanted)
    (rules,) = (it for it in deployer.running.arm.store if it.kind.endswith("securitygroups"))
    rules.body["properties"]["securityRules"].append({"name": "ssh", "properties": {}})
    deployer.run(wanted)
    names = [rule["name"] for rule in rules.body["properties"]["securityRules"]]
    assert names == ["clients-0", "nothing-else-in", "nothing-out"]


def test_another_release_takes_the_machine_s_place_and_keeps_the_address(
    deployer: Deployer, wanted: list[Wanted], tmp_path: Path
) -> None:
    deployer.run(wanted)
    newer = machine_resources(
        deployer.config(), system=sparse(tmp_path / "newer", b"n"), app=_image(wanted, "app")
    )
    steps = deployer.run(newer)
    assert [(step.action, kind_of(step.identifier)) for step in steps] == [
        (Action.KEEP, Kind.GROUP),
        (Action.MAKE, Kind.DISK),
        (Action.KEEP, Kind.DISK),
        (Action.SET, Kind.RULES),
        (Action.KEEP, Kind.ADDRESS),
        (Action.KEEP, Kind.NETWORK),
        (Action.KEEP, Kind.CARD),
        (Action.REPLACE, Kind.MACHINE),
        (Action.REMOVE, Kind.DISK),
    ]
    assert deployer.standing == {one.identifier for one in newer} == deployer.recorded


def _image(wanted: list[Wanted], what: str) -> Image:
    (image,) = (one.image for one in wanted if one.image and f"-{what}-" in one.name)
    return image


def test_what_others_made_is_not_touched(deployer: Deployer, wanted: list[Wanted]) -> None:
    deployer.run(wanted[:1])
    (rules,) = (one for one in wanted if one.kind is Kind.RULES)
    others = Asked(
        verb="PUT",
        path=rules.identifier,
        query={"api-version": "2026-03-01"},
        token=TOKEN,
        body={"location": "westeurope"},
    )
    assert deployer.running.arm.answer(others).status == 201
    with pytest.raises(AzureError, match="somebody else") as caught:
        deployer.run(wanted)
    assert caught.value.reason is Reason.FOREIGN
    # Its group, which the deployment has made, stays because of it.
    (left,) = deployer.down()
    assert "holds what others have made" in left
    assert deployer.standing == {wanted[0].identifier, rules.identifier}
    assert deployer.recorded == {wanted[0].identifier}


def test_a_group_of_others_is_used_and_stays(deployer: Deployer, wanted: list[Wanted]) -> None:
    group = Asked(
        verb="PUT",
        path=wanted[0].identifier,
        query={"api-version": "2025-04-01"},
        token=TOKEN,
        body={"location": "westeurope"},
    )
    deployer.running.arm.answer(group)
    steps = deployer.run(wanted)
    assert steps[0].action is Action.USE
    assert deployer.down() == []
    assert deployer.standing == {wanted[0].identifier}


def test_what_was_removed_and_made_anew_by_others_is_not_removed(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    deployer.run(wanted)
    (address,) = (it for it in deployer.running.arm.store if it.kind.endswith("addresses"))
    address.body["tags"] = {}
    left = deployer.down()
    assert left[0] == f"{address.identifier}: another has made it"
    assert address.identifier in deployer.standing


def test_a_lost_record_is_made_again_by_the_tags(deployer: Deployer, wanted: list[Wanted]) -> None:
    deployer.run(wanted)
    deployer.record.unlink()
    assert deployer.down() == []
    deployer.run(wanted)
    assert deployer.recorded == deployer.standing
    assert deployer.down() == []
    assert deployer.standing == set()


def test_without_a_public_address_in_a_subnet_of_others(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    (network,) = (one for one in wanted if one.kind is Kind.NETWORK)
    deployer.run([wanted[0], network])
    config = deployer.config(
        f'public = false\nsubnet = "{network.identifier}/subnets/guest"\nclients = ["10.0.0.0/8"]'
    )
    inside = machine_resources(config, system=_image(wanted, "os"), app=_image(wanted, "app"))
    assert not {Kind.ADDRESS, Kind.NETWORK} & {one.kind for one in inside}
    with deployer.open() as deployment:
        deployment.carry_out(
            [step for step in deployment.plan(inside) if step.action is not Action.REMOVE]
        )
        assert guest_address(deployment.arm, inside) == PRIVATE_ADDRESS


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
