"""The custom role has what deployments ask of Azure, and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from deploy.azure.config import FleetChoice
from deploy.azure.fleet import fleet_resources
from deploy.azure.machine import machine_resources
from deploy.azure.secure_machine import secure_machine_resources
from tests.simulators.arm import Asked
from tests.simulators.arm_operations import POLLS, permissions
from tests.unit.deploy.azure.conftest import Deployer, made_keys
from tests.unit.deploy.azure.test_fleet import sparse

ROLE = json.loads(Path(__file__).parents[4].joinpath("deploy/azure/role.json").read_text())


@pytest.mark.azure
def test_the_role_is_what_a_machine_a_fleet_and_their_removal_need(
    deployer: Deployer, tmp_path: Path
) -> None:
    system, app = sparse(tmp_path / "os", b"o"), sparse(tmp_path / "app", b"a")
    config = deployer.config()
    for wanted in (
        machine_resources(config, system=system, app=app),
        fleet_resources(config, FleetChoice(instances=2), system=system, app=app, sequence=1),
        secure_machine_resources(config, app=app, sequence=1, keys=made_keys(tmp_path)),
    ):
        deployer.run(wanted)
        assert deployer.down() == []
    needed = permissions(deployer.running.arm.asked)
    allowed = set(ROLE["Actions"])
    assert needed - allowed == set()
    assert allowed - needed == set()
    assert needed > POLLS


def test_the_role_is_in_order_and_has_no_wildcards() -> None:
    assert ROLE["Actions"] == sorted(set(ROLE["Actions"]))
    assert not [action for action in ROLE["Actions"] if "*" in action]
    assert ROLE["NotActions"] == ROLE["DataActions"] == ROLE["NotDataActions"] == []


def test_what_requests_need() -> None:
    place = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network"
    card = {
        "properties": {
            "networkSecurityGroup": {"id": f"{place}/networkSecurityGroups/r"},
            "ipConfigurations": [
                {"properties": {"subnet": {"id": f"{place}/virtualNetworks/n/subnets/s"}}}
            ],
        }
    }

    def asked(verb: str, path: str, body: object = None) -> Asked:
        return Asked(verb=verb, path=path, query={}, token="", body=body)

    assert permissions([asked("PUT", f"{place}/networkInterfaces/c", card)]) == {
        "Microsoft.Network/networkInterfaces/write",
        "Microsoft.Network/networkSecurityGroups/join/action",
        "Microsoft.Network/virtualNetworks/subnets/join/action",
    }
    disk = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d"
    assert permissions([asked("POST", f"{disk}/beginGetAccess")]) == {
        "Microsoft.Compute/disks/beginGetAccess/action"
    }
    assert permissions([asked("DELETE", "/subscriptions/s/resourceGroups/g")]) == {
        "Microsoft.Resources/subscriptions/resourceGroups/delete"
    }
