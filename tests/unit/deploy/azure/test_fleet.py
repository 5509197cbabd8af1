"""A fleet in the simulated Azure: made, scaled, given another release, and taken down."""

from __future__ import annotations

import base64
import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from deploy.azure.config import DeployConfig, FleetChoice, SecureBootChoice
from deploy.azure.errors import AzureError, Reason
from deploy.azure.fleet import fleet_resources
from deploy.azure.guest import guest_address
from deploy.azure.plan import Action
from deploy.azure.secure_boot import SecureBoot, read_secure_boot
from deploy.azure.upload import Image
from deploy.azure.wanted import Kind, Wanted, kind_of
from supply_chain.digest import sha256_file
from tests.simulators.ak_authority import new_root
from tests.simulators.arm import PRIVATE_ADDRESS, PUBLIC_ADDRESS, Fault
from tests.simulators.page_blob import Door
from tests.unit.deploy.azure.conftest import Deployer

pytestmark = pytest.mark.azure
MIB = 1 << 20
KINDS = [
    Kind.GROUP,
    Kind.DISK,
    Kind.DISK,
    Kind.RULES,
    Kind.ADDRESS,
    Kind.NETWORK,
    Kind.BALANCER,
    Kind.GALLERY,
    Kind.IMAGE,
    Kind.VERSION,
    Kind.SCALE_SET,
]


def sparse(path: Path, byte: bytes) -> Image:
    with path.open("wb") as file:
        file.truncate(21 * MIB)
        file.write(byte * 4096)
    return Image(path=path, sha256=sha256_file(path))


@dataclass(frozen=True, kw_only=True)
class Fleet:
    """What would be deployed, with changes."""

    config: DeployConfig
    system: Image
    app: Image

    def wanted(
        self,
        *,
        instances: int = 3,
        sequence: int = 7,
        system: Image | None = None,
        keys: SecureBoot | None = None,
        config: DeployConfig | None = None,
    ) -> list[Wanted]:
        return fleet_resources(
            config or self.config,
            FleetChoice(instances=instances),
            system=system or self.system,
            app=self.app,
            sequence=sequence,
            keys=keys,
        )


@pytest.fixture
def fleet(deployer: Deployer, tmp_path: Path) -> Fleet:
    images = tmp_path / "images"
    images.mkdir()
    return Fleet(
        config=deployer.config(),
        system=sparse(images / "os", b"o"),
        app=sparse(images / "app", b"a"),
    )


def one(wanted: list[Wanted], kind: Kind) -> Wanted:
    (found,) = (it for it in wanted if it.kind is kind)
    return found


def test_from_nothing_to_a_fleet_and_down_again(
    deployer: Deployer, fleet: Fleet, door: Door
) -> None:
    wanted = fleet.wanted()
    assert [it.kind for it in wanted] == KINDS
    steps = deployer.run(wanted)
    assert {step.action for step in steps} == {Action.MAKE}
    assert deployer.standing == {it.identifier for it in wanted} == deployer.recorded
    assert door.sent_bytes() == 2 * (4096 + 512)
    with deployer.open() as deployment:
        assert guest_address(deployment.arm, wanted) == PUBLIC_ADDRESS
    assert deployer.down() == []
    assert deployer.standing == set() == deployer.recorded


def test_a_second_run_changes_nothing_but_the_rules(deployer: Deployer, fleet: Fleet) -> None:
    deployer.run(fleet.wanted())
    steps = deployer.run(fleet.wanted())
    assert [step.action for step in steps] == [
        Action.SET if kind is Kind.RULES else Action.KEEP for kind in KINDS
    ]


def test_nothing_but_what_is_measured_reaches_an_instance(deployer: Deployer, fleet: Fleet) -> None:
    wanted = fleet.wanted()
    deployer.run(wanted)
    sent = {it.path: it.body for it in deployer.running.arm.asked if it.verb == "PUT"}
    machines = sent[one(wanted, Kind.SCALE_SET).identifier]["properties"]["virtualMachineProfile"]
    assert not {"osProfile", "userData", "extensionProfile"} & machines.keys()
    assert machines["securityProfile"]["uefiSettings"] == {
        "secureBootEnabled": False,
        "vTpmEnabled": True,
    }
    assert machines["diagnosticsProfile"]["bootDiagnostics"]["enabled"] is False
    (card,) = machines["networkProfile"]["networkInterfaceConfigurations"]
    (settings,) = card["properties"]["ipConfigurations"]
    assert "publicIPAddressConfiguration" not in settings["properties"]
    rules = sent[one(wanted, Kind.RULES).identifier]["properties"]["securityRules"]
    allowed = [it["properties"] for it in rules if it["properties"]["access"] == "Allow"]
    assert [(it["sourceAddressPrefix"], it["destinationPortRange"]) for it in allowed] == [
        ("0.0.0.0/0", "443"),
        ("AzureLoadBalancer", "443"),
    ]
    (rule,) = sent[one(wanted, Kind.BALANCER).identifier]["properties"]["loadBalancingRules"]
    assert rule["properties"]["disableOutboundSnat"] is True


def test_more_instances_are_a_setting(deployer: Deployer, fleet: Fleet) -> None:
    deployer.run(fleet.wanted())
    steps = deployer.run(fleet.wanted(instances=5))
    assert [kind_of(it.identifier) for it in steps if it.action is Action.SET] == [
        Kind.RULES,
        Kind.SCALE_SET,
    ]
    (machines,) = (it for it in deployer.running.arm.store if it.kind.endswith("scalesets"))
    assert machines.body["sku"]["capacity"] == 5


def test_another_release_is_another_version_and_the_old_one_goes(
    deployer: Deployer, fleet: Fleet, tmp_path: Path
) -> None:
    old = fleet.wanted()
    deployer.run(old)
    new = fleet.wanted(sequence=8, system=sparse(tmp_path / "newer", b"n"))
    steps = deployer.run(new)
    assert [
        (it.action, kind_of(it.identifier)) for it in steps if it.action is not Action.KEEP
    ] == [
        (Action.MAKE, Kind.DISK),
        (Action.SET, Kind.RULES),
        (Action.MAKE, Kind.VERSION),
        (Action.SET, Kind.SCALE_SET),
        (Action.REMOVE, Kind.VERSION),
        (Action.REMOVE, Kind.DISK),
    ]
    assert deployer.standing == {it.identifier for it in new} == deployer.recorded
    assert one(old, Kind.VERSION).name.startswith("7.0.")
    assert one(new, Kind.VERSION).name.startswith("8.0.")


def test_without_a_public_address_the_balancer_has_one_of_the_network(
    deployer: Deployer, fleet: Fleet
) -> None:
    wanted = fleet.wanted(config=deployer.config("public = false"))
    assert Kind.ADDRESS not in [it.kind for it in wanted]
    deployer.run(wanted)
    with deployer.open() as deployment:
        assert guest_address(deployment.arm, wanted) == PRIVATE_ADDRESS


@pytest.mark.parametrize("ends", ["/llama-balancer", "/llama_gallery", "/blindllama", "/llama"])
def test_an_operation_that_fails_late_is_mended_by_the_next_run(
    deployer: Deployer, fleet: Fleet, ends: str
) -> None:
    wanted = fleet.wanted()
    deployer.running.arm.faults.append(Fault(verb="PUT", ends=ends))
    with pytest.raises(AzureError) as caught:
        deployer.run(wanted)
    assert caught.value.reason is Reason.CAPACITY
    assert deployer.standing <= deployer.recorded
    deployer.run(wanted)
    assert {it.state for it in deployer.running.arm.store} == {"Succeeded"}
    assert deployer.down() == []
    assert deployer.standing == set()


def test_own_keys_go_into_the_version_and_secure_boot_is_on(
    deployer: Deployer, fleet: Fleet, tmp_path: Path
) -> None:
    certificates = {name: new_root().certificate for name in ("PK", "KEK", "db")}
    for name, certificate in certificates.items():
        encoding = Encoding.PEM if name == "PK" else Encoding.DER
        (tmp_path / name).write_bytes(certificate.public_bytes(encoding))
    signed = sparse(tmp_path / "signed.img", b"s")
    choice = SecureBootChoice(
        image="signed.img",
        platform_key="PK",
        key_exchange_keys=("KEK",),
        signature_database=("db",),
    )
    keys = read_secure_boot(choice, tmp_path)
    wanted = fleet.wanted(keys=keys)
    deployer.run(wanted)
    assert [it.image for it in wanted if it.image] == [signed, fleet.app]
    version = one(wanted, Kind.VERSION)
    assert version.name != one(fleet.wanted(), Kind.VERSION).name
    settings = version.body["properties"]["securityProfile"]["uefiSettings"]
    assert settings["signatureTemplateNames"] == ["NoSignatureTemplate"]
    keys_sent = {
        name: {"type": "x509", "value": [base64.b64encode(it.public_bytes(Encoding.DER)).decode()]}
        for name, it in certificates.items()
    }
    assert settings["additionalSignatures"] == {
        "pk": keys_sent["PK"],
        "kek": [keys_sent["KEK"]],
        "db": [keys_sent["db"]],
    }
    machines = one(wanted, Kind.SCALE_SET).body["properties"]["virtualMachineProfile"]
    assert machines["securityProfile"]["uefiSettings"]["secureBootEnabled"] is True


def test_keys_that_are_none(tmp_path: Path) -> None:
    (tmp_path / "PK.pem").write_text("no key")
    choice = SecureBootChoice(
        image="os.img", platform_key="PK.pem", key_exchange_keys=("x",), signature_database=("x",)
    )
    with pytest.raises(AzureError, match=r"os\.img: expected the signed disk") as caught:
        read_secure_boot(choice, tmp_path)
    assert caught.value.reason is Reason.CONFIG
    (tmp_path / "os.img").write_bytes(b"disk")
    with pytest.raises(AzureError, match=r"PK\.pem: expected one certificate") as caught:
        read_secure_boot(choice, tmp_path)
    assert caught.value.reason is Reason.CONFIG


Change = Callable[[Any], None]


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        (Kind.SCALE_SET, lambda it: it["virtualMachineProfile"].update(osProfile={})),
        (Kind.SCALE_SET, lambda it: it["virtualMachineProfile"].pop("securityProfile")),
        (Kind.SCALE_SET, lambda it: it["virtualMachineProfile"]["storageProfile"].pop("dataDisks")),
        (
            Kind.SCALE_SET,
            lambda it: it["virtualMachineProfile"]["networkProfile"].pop("healthProbe"),
        ),
        (Kind.SCALE_SET, lambda it: it.update(overProvision=False)),
        (Kind.VERSION, lambda it: it["publishingProfile"].update(targetRegions=[])),
        (Kind.VERSION, lambda it: it["storageProfile"]["osDiskImage"]["source"].update(id="/x")),
        (Kind.BALANCER, lambda it: it["probes"][0].update(name="other")),
        (Kind.BALANCER, lambda it: it["frontendIPConfigurations"][0]["properties"].clear()),
    ],
)
def test_the_simulation_refuses_what_azure_would(
    deployer: Deployer, fleet: Fleet, kind: Kind, change: Change
) -> None:
    wanted = fleet.wanted()
    wrong = one(wanted, kind)
    body = copy.deepcopy(dict(wrong.body))
    change(body["properties"])
    altered = [
        Wanted(kind=kind, identifier=wrong.identifier, body=body) if it is wrong else it
        for it in wanted
    ]
    with pytest.raises(AzureError) as caught:
        deployer.run(altered)
    assert caught.value.reason in {Reason.REFUSED, Reason.MISSING}
    assert wrong.identifier not in deployer.standing
    deployer.run(wanted)
