"""A deployment to the simulated Azure: from nothing, again, interrupted everywhere, and down."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.azure.errors import AzureError, Reason
from deploy.azure.guest import guest_address
from deploy.azure.machine import machine_resources
from deploy.azure.plan import Action
from deploy.azure.upload import Image
from deploy.azure.wanted import BODY_TAG, NAME_TAG, Kind, Wanted, kind_of
from tests.simulators.arm import PRIVATE_ADDRESS, PUBLIC_ADDRESS, TOKEN, Asked
from tests.simulators.page_blob import Door
from tests.unit.deploy.azure.conftest import Deployer, sparse
from tests.unit.deploy.azure.deployments import changes

pytestmark = pytest.mark.azure
MIB = 1 << 20


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
