"""The simulated Resource Manager, asked by Azure's own libraries."""

from __future__ import annotations

import contextlib
import copy
import gc
import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from deploy.azure import vhd
from deploy.azure.upload import Image, upload
from supply_chain.progress import SilentProgress
from tests.simulators.arm import KINDS, READER, SUBSCRIPTION, TOKEN, Answer, Fault
from tests.simulators.arm_schema import faults
from tests.simulators.arm_server import RunningArm
from tests.unit.deploy.azure.arm_bodies import (
    ADDRESS,
    CARD,
    GROUP,
    MACHINE,
    NETWORK,
    OS_DISK,
    PREFIX,
    RULES,
    WHERE,
)

pytestmark = pytest.mark.azure
MIB = 1 << 20
Sdk = Any
"""What comes from libraries that are optional, as their types are."""


class Credential:
    """A credential with a token that is known already."""

    def __init__(self, token: str) -> None:
        self._token = token

    def get_token(self, *_scopes: str, **_options: object) -> Sdk:
        core = importlib.import_module("azure.core.credentials")
        return core.AccessToken(self._token, 1 << 33)


@dataclass(frozen=True, slots=True, kw_only=True)
class Azure:
    """Azure's libraries, pointed at the simulation."""

    running: RunningArm
    compute: Sdk
    network: Sdk
    resources: Sdk

    @property
    def groups(self) -> Sdk:
        return self.resources.resource_groups

    @classmethod
    @contextlib.contextmanager
    def open(
        cls,
        running: RunningArm,
        token: str = TOKEN,
        subscription: str = SUBSCRIPTION,
        retries: int = 1,
    ) -> Iterator[Azure]:
        def client(module: str, name: str) -> Sdk:
            return getattr(importlib.import_module(f"azure.mgmt.{module}"), name)(
                Credential(token),
                subscription,
                base_url=running.address,
                credential_scopes=["https://management.invalid/.default"],
                connection_verify=str(running.authority),
                polling_interval=0,
                retry_total=retries,
                retry_backoff_factor=0,
            )

        opened = cls(
            running=running,
            compute=client("compute", "ComputeManagementClient"),
            network=client("network", "NetworkManagementClient"),
            resources=client("resource.resources", "ResourceManagementClient"),
        )
        with opened.compute, opened.network, opened.resources:
            yield opened

    def disk(self, body: dict[str, Any] = OS_DISK, name: str = "os") -> Sdk:
        return self.compute.disks.begin_create_or_update(GROUP, name, body).result()

    def disk_state(self) -> str:
        return str(self.compute.disks.get(GROUP, "os").properties.disk_state.value)

    def filled_disk(self, image: Image, journals: Path) -> None:
        self.disk()
        access = {"access": "Write", "durationInSeconds": 3600}

        def grant() -> str:
            given = self.compute.disks.begin_grant_access(GROUP, "os", access).result()
            return str(given.access_sas)

        upload(image, grant, journals=journals, progress=SilentProgress())
        self.compute.disks.begin_revoke_access(GROUP, "os").result()

    def wires(self) -> None:
        make = self.network
        make.network_security_groups.begin_create_or_update(GROUP, "rules", RULES).result()
        make.virtual_networks.begin_create_or_update(GROUP, "network", NETWORK).result()
        make.public_ip_addresses.begin_create_or_update(GROUP, "address", ADDRESS).result()
        make.network_interfaces.begin_create_or_update(GROUP, "card", CARD).result()

    def machine(self, body: dict[str, Any] = MACHINE) -> Sdk:
        return self.compute.virtual_machines.begin_create_or_update(GROUP, "vm", body).result()


@pytest.fixture
def azure(running: RunningArm) -> Iterator[Azure]:
    with Azure.open(running) as opened:
        opened.groups.create_or_update(GROUP, {"location": WHERE})
        yield opened


def refused(call: Callable[[], object]) -> tuple[int, str]:
    """Status and code of a refusal."""
    core = importlib.import_module("azure.core.exceptions")
    with pytest.raises(core.HttpResponseError) as caught:
        call()
    return caught.value.status_code, caught.value.error.code


def changed(body: dict[str, Any], path: str, value: object) -> dict[str, Any]:
    """The body with one value more or another; without the key when the value is None."""
    copied = copy.deepcopy(body)
    *way, last = path.split(".")
    inner = copied
    for key in way:
        inner = inner[key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return copied


def test_from_nothing_to_a_machine_with_an_uploaded_disk(
    azure: Azure, image: Image, tmp_path: Path
) -> None:
    azure.filled_disk(image, tmp_path / "journals")
    assert azure.disk_state() == "Unattached"
    azure.wires()
    made = azure.machine()
    assert made.properties.provisioning_state == "Succeeded"
    assert azure.disk_state() == "Attached"
    assert azure.compute.disks.get(GROUP, "os").managed_by == made.id
    address = azure.network.public_ip_addresses.get(GROUP, "address")
    assert address.properties.ip_address == "192.0.2.10"
    # Made again as it is, nothing is another one.
    before = {resource.identifier for resource in azure.running.arm.store}
    azure.machine()
    assert {resource.identifier for resource in azure.running.arm.store} == before


def test_what_is_used_cannot_be_deleted_and_a_group_takes_all_with_it(
    azure: Azure, image: Image, tmp_path: Path
) -> None:
    azure.filled_disk(image, tmp_path / "journals")
    azure.wires()
    azure.machine()
    for call in (
        lambda: azure.compute.disks.begin_delete(GROUP, "os").result(),
        lambda: azure.network.network_interfaces.begin_delete(GROUP, "card").result(),
        lambda: azure.network.network_security_groups.begin_delete(GROUP, "rules").result(),
    ):
        assert refused(call) == (409, "InUse")
    azure.compute.virtual_machines.begin_delete(GROUP, "vm").result()
    assert azure.disk_state() == "Unattached"
    azure.compute.disks.begin_delete(GROUP, "os").result()
    assert refused(lambda: azure.compute.disks.get(GROUP, "os")) == (404, "ResourceNotFound")
    # What is not there needs no deleting.
    azure.compute.disks.begin_delete(GROUP, "os").result()
    azure.groups.begin_delete(GROUP).result()
    assert list(azure.running.arm.store) == []


@pytest.mark.parametrize(
    ("path", "value", "code"),
    [
        ("additional", {}, "InvalidRequestContent"),
        ("properties.OsType", "Linux", "InvalidRequestContent"),
        ("properties.osType", "linux", "InvalidRequestContent"),
        ("location", None, "InvalidRequestContent"),
        ("properties.creationData.createOption", None, "InvalidRequestContent"),
        ("properties.creationData.uploadSizeBytes", "25166336", "InvalidRequestContent"),
        ("properties.creationData.uploadSizeBytes", 24 * MIB, "InvalidParameter"),
        ("properties.creationData.uploadSizeBytes", 19 * MIB + 512, "InvalidParameter"),
        ("properties.hyperVGeneration", "V1", "InvalidParameter"),
        ("properties.osType", None, "InvalidParameter"),
    ],
)
def test_a_wrong_disk_is_refused(azure: Azure, path: str, value: object, code: str) -> None:
    assert refused(lambda: azure.disk(changed(OS_DISK, path, value))) == (400, code)
    assert refused(lambda: azure.compute.disks.get(GROUP, "os")) == (404, "ResourceNotFound")


@pytest.mark.parametrize(
    ("path", "value", "answer"),
    [
        ("properties.osProfile", {"computerName": "x"}, (400, "InvalidParameter")),
        ("properties.securityProfile.securityType", None, (400, "InvalidParameter")),
        ("properties.securityProfile", None, (400, "InvalidParameter")),
        ("properties.vmSize", "Standard_D2s_v5", (400, "InvalidRequestContent")),
        (
            "properties.networkProfile.networkInterfaces",
            [{"id": f"{PREFIX}/none"}],
            (400, "InvalidResourceReference"),
        ),
    ],
)
def test_a_wrong_machine_is_refused(
    azure: Azure, image: Image, tmp_path: Path, path: str, value: object, answer: tuple[int, str]
) -> None:
    azure.filled_disk(image, tmp_path / "journals")
    azure.wires()
    assert refused(lambda: azure.machine(changed(MACHINE, path, value))) == answer
    azure.machine()


def test_a_disk_that_was_not_uploaded_boots_nothing(azure: Azure) -> None:
    azure.disk()
    azure.wires()
    assert refused(azure.machine) == (409, "OperationNotAllowed")


def test_a_disk_without_its_footer_still_awaits_it(azure: Azure) -> None:
    azure.disk()
    azure.compute.disks.begin_grant_access(
        GROUP, "os", {"access": "Write", "durationInSeconds": 60}
    ).result()
    assert azure.disk_state() == "ActiveUpload"
    azure.compute.disks.begin_revoke_access(GROUP, "os").result()
    assert azure.disk_state() == "ReadyToUpload"


def test_a_resource_neither_moves_nor_grows(azure: Azure) -> None:
    azure.disk()
    size = "properties.creationData.uploadSizeBytes"
    other = changed(OS_DISK, size, vhd.upload_bytes(25 * MIB))
    assert refused(lambda: azure.disk(other)) == (409, "PropertyChangeNotAllowed")
    moved = changed(OS_DISK, "location", "northeurope")
    assert refused(lambda: azure.disk(moved)) == (409, "InvalidResourceLocation")


def test_who_may_not_is_told_why(azure: Azure) -> None:
    azure.disk()
    with Azure.open(azure.running, token="made up") as stranger:
        assert refused(stranger.disk) == (401, "InvalidAuthenticationToken")
    with Azure.open(azure.running, token=READER) as reader:
        assert refused(reader.disk) == (403, "AuthorizationFailed")
        assert reader.compute.disks.get(GROUP, "os").name == "os"
    with Azure.open(azure.running, subscription=SUBSCRIPTION[:-1] + "2") as elsewhere:
        assert refused(elsewhere.disk) == (404, "SubscriptionNotFound")


def test_without_its_group_nothing_is_made(running: RunningArm) -> None:
    with Azure.open(running) as azure:
        assert refused(azure.disk) == (404, "ResourceGroupNotFound")


# Azure's library drops the connection of an answer that it does not read.
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_429_is_asked_again_after_the_time_that_it_says(azure: Azure) -> None:
    busy = Answer(
        status=429,
        body={"error": {"code": "TooManyRequests", "message": ""}},
        headers={"Retry-After": "0"},
    )
    azure.running.arm.faults.append(Fault(verb="PUT", ends="/disks/os", answer=busy))
    azure.disk()
    puts = [asked for asked in azure.running.arm.asked if asked.verb == "PUT"]
    assert [asked.path.rsplit("/", 1)[1] for asked in puts] == [GROUP, "os", "os"]
    gc.collect()


def test_500_in_the_middle_may_have_made_it(azure: Azure) -> None:
    broken = Answer(status=500, body={"error": {"code": "InternalServerError", "message": ""}})
    azure.running.arm.faults.append(Fault(verb="PUT", ends="/disks/os", answer=broken, after=True))
    with Azure.open(azure.running, retries=0) as impatient:
        assert refused(impatient.disk) == (500, "InternalServerError")
    assert azure.compute.disks.get(GROUP, "os").name == "os"


def test_an_operation_that_fails_late_leaves_what_it_began(azure: Azure) -> None:
    azure.running.arm.faults.append(Fault(verb="PUT", ends="/disks/os"))
    core = importlib.import_module("azure.core.exceptions")
    with pytest.raises(core.HttpResponseError, match="AllocationFailed"):
        azure.disk()
    left = azure.compute.disks.get(GROUP, "os")
    assert left.properties.provisioning_state == "Failed"
    azure.disk()
    assert azure.compute.disks.get(GROUP, "os").properties.provisioning_state == "Succeeded"


def test_a_gallery_s_versions_carry_own_keys(azure: Azure, image: Image, tmp_path: Path) -> None:
    azure.filled_disk(image, tmp_path / "journals")
    make = azure.compute
    make.galleries.begin_create_or_update(GROUP, "gallery", {"location": WHERE}).result()
    definition = {
        "location": WHERE,
        "properties": {
            "osType": "Linux",
            "osState": "Specialized",
            "hyperVGeneration": "V2",
            "identifier": {"publisher": "p", "offer": "o", "sku": "s"},
            "features": [{"name": "SecurityType", "value": "TrustedLaunch"}],
        },
    }
    key = {"type": "x509", "value": ["AAAA"]}
    version = {
        "location": WHERE,
        "properties": {
            "storageProfile": {
                "osDiskImage": {"source": {"id": f"{PREFIX}/Microsoft.Compute/disks/os"}}
            },
            "publishingProfile": {"targetRegions": [{"name": WHERE}]},
            "securityProfile": {
                "uefiSettings": {
                    "signatureTemplateNames": ["NoSignatureTemplate"],
                    "additionalSignatures": {"pk": key, "kek": [key], "db": [key]},
                }
            },
        },
    }
    put_version = make.gallery_image_versions.begin_create_or_update
    assert refused(lambda: put_version(GROUP, "gallery", "llama", "1.0.0", version).result()) == (
        404,
        "ParentResourceNotFound",
    )
    make.gallery_images.begin_create_or_update(GROUP, "gallery", "llama", definition).result()
    wrong = changed(
        version, "properties.securityProfile.uefiSettings.additionalSignatures.kek", key
    )
    assert refused(lambda: put_version(GROUP, "gallery", "llama", "1.0.0", wrong).result()) == (
        400,
        "InvalidRequestContent",
    )
    made = put_version(GROUP, "gallery", "llama", "1.0.0", version).result()
    assert made.properties.provisioning_state == "Succeeded"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_body_is_closed(kind: str) -> None:
    (fault,) = faults(*KINDS[kind], {"location": WHERE, "additional": 1})
    assert "'additional' was unexpected" in fault
    (fault,) = faults(*KINDS[kind], {"location": 1})
    assert fault == "location: 1 is not of type 'string'"
