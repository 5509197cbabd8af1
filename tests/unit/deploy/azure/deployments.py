"""What the tests of whole deployments share."""

from __future__ import annotations

import pytest

from deploy.azure.errors import AzureError
from deploy.azure.wanted import Wanted
from tests.unit.deploy.azure.conftest import Deployer


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
