"""One machine whose firmware starts only what keys of one's own have signed."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.azure.machine import machine_resources
from deploy.azure.plan import Action
from deploy.azure.secure_machine import secure_machine_resources
from deploy.azure.upload import Image
from deploy.azure.wanted import Kind, Wanted, kind_of
from tests.simulators.page_blob import Door
from tests.unit.deploy.azure.conftest import Deployer, made_keys
from tests.unit.deploy.azure.test_fleet import one, sparse

pytestmark = pytest.mark.azure


@pytest.fixture
def images(tmp_path: Path) -> dict[str, Image]:
    return {"system": sparse(tmp_path / "os", b"o"), "app": sparse(tmp_path / "app", b"a")}


@pytest.fixture
def wanted(deployer: Deployer, images: dict[str, Image], tmp_path: Path) -> list[Wanted]:
    keys = made_keys(tmp_path)
    return secure_machine_resources(deployer.config(), app=images["app"], sequence=7, keys=keys)


def test_from_nothing_to_a_machine_of_an_image_with_keys_and_down(
    deployer: Deployer, wanted: list[Wanted]
) -> None:
    deployer.run(wanted)
    assert deployer.standing == {it.identifier for it in wanted} == deployer.recorded
    sent = {it.path: it.body for it in deployer.running.arm.asked if it.verb == "PUT"}
    version = sent[one(wanted, Kind.VERSION).identifier]["properties"]
    keys = version["securityProfile"]["uefiSettings"]["additionalSignatures"]
    assert keys.keys() == {"pk", "kek", "db"}
    machine = sent[one(wanted, Kind.MACHINE).identifier]["properties"]
    assert "osProfile" not in machine
    assert machine["securityProfile"]["uefiSettings"] == {
        "secureBootEnabled": True,
        "vTpmEnabled": True,
    }
    storage = machine["storageProfile"]
    assert storage["imageReference"]["id"] == one(wanted, Kind.VERSION).identifier
    # What Azure copies for the machine is nobody's to remove afterwards.
    assert {disk["deleteOption"] for disk in (storage["osDisk"], *storage["dataDisks"])} == {
        "Delete"
    }
    steps = deployer.run(wanted)
    assert {kind_of(it.identifier) for it in steps if it.action is not Action.KEEP} == {Kind.RULES}
    assert deployer.down() == []
    assert deployer.standing == set()


def test_a_machine_is_given_keys_and_loses_them_again(
    deployer: Deployer, wanted: list[Wanted], images: dict[str, Image]
) -> None:
    plain = machine_resources(deployer.config(), **images)
    deployer.run(plain)
    steps = deployer.run(wanted)
    actions = {kind_of(it.identifier): it.action for it in steps}
    assert actions[Kind.MACHINE] is Action.REPLACE
    # The signed disk takes the place of the other one.
    made = [one for one in steps if one.action is Action.MAKE]
    assert [kind_of(it.identifier) for it in made] == [
        Kind.DISK,
        Kind.GALLERY,
        Kind.IMAGE,
        Kind.VERSION,
    ]
    assert deployer.standing == {it.identifier for it in wanted}
    # The gallery goes with them, and the address stays.
    steps = deployer.run(plain)
    removed = [kind_of(it.identifier) for it in steps if it.action is Action.REMOVE]
    assert removed == [Kind.VERSION, Kind.IMAGE, Kind.GALLERY, Kind.DISK]
    assert deployer.standing == {it.identifier for it in plain} == deployer.recorded


def test_disks_of_which_an_image_was_made_are_whole_though_the_record_is_lost(
    deployer: Deployer, wanted: list[Wanted], door: Door
) -> None:
    deployer.run(wanted)
    sent = door.sent_bytes()
    deployer.record.unlink()
    steps = deployer.run(wanted)
    assert {kind_of(it.identifier) for it in steps if it.action is not Action.KEEP} == {Kind.RULES}
    assert door.sent_bytes() == sent
    assert deployer.recorded == deployer.standing
