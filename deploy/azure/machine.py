"""A release as one Trusted Launch machine: every resource that it needs, with its body.

Nothing reaches the guest that is not measured: without an `osProfile` there is neither a password
nor custom data nor a provisioning agent, and there are no extensions. Boot diagnostics, through
which the operator would read the console, are off.

Source: azure-mgmt-compute 39, `types.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.azure import vhd
from deploy.azure.network import network_resources
from deploy.azure.wanted import Kind, Wanted

if TYPE_CHECKING:
    from deploy.azure.config import DeployConfig
    from deploy.azure.upload import Image


def machine_resources(config: DeployConfig, *, system: Image, app: Image) -> list[Wanted]:
    """All that one machine needs, in the order of its making.

    Args:
        config: What `deploy.toml` says.
        system: The image of the operating system's disk.
        app: The image of the application's disk.
    """
    disks = [system_disk(config, system), app_disk(config, app)]
    *network, card = network_resources(config)
    return [
        resource_group(config),
        *disks,
        *network,
        card,
        machine(config, card=card, storage=attached(*disks)),
    ]


def resource_group(config: DeployConfig) -> Wanted:
    """The resource group."""
    place = config.place
    return Wanted(kind=Kind.GROUP, identifier=place.identifier, body={"location": config.location})


def system_disk(config: DeployConfig, image: Image) -> Wanted:
    """The disk with the operating system, awaiting its upload."""
    return _disk(
        config,
        "os",
        image,
        {
            "osType": "Linux",
            "hyperVGeneration": "V2",
            "securityProfile": {"securityType": "TrustedLaunch"},
        },
    )


def app_disk(config: DeployConfig, image: Image) -> Wanted:
    """The disk with the application, awaiting its upload."""
    return _disk(config, "app", image, {})


def _disk(config: DeployConfig, what: str, image: Image, more: dict[str, Any]) -> Wanted:
    size = vhd.upload_bytes(image.path.stat().st_size)
    # Another image is another disk: what is in one can be told by its name, and never changes.
    name = f"{config.name}-{what}-{image.sha256.hex[:16]}"
    return Wanted(
        kind=Kind.DISK,
        identifier=config.place.identify(Kind.DISK, name),
        body={
            "location": config.location,
            "sku": {"name": config.machine.disk_sku},
            "properties": {
                **more,
                "creationData": {"createOption": "Upload", "uploadSizeBytes": size},
            },
        },
        image=image,
    )


def attached(system: Wanted, app: Wanted) -> dict[str, Any]:
    """A machine's storage: the two uploaded disks themselves."""

    def disk(one: Wanted) -> dict[str, Any]:
        # Each resource is removed by its own identifier, so nothing goes with the machine.
        return {
            "createOption": "Attach",
            "deleteOption": "Detach",
            "managedDisk": {"id": one.identifier},
        }

    return {
        "osDisk": {"osType": "Linux", **disk(system)},
        "dataDisks": [{"lun": 0, **disk(app)}],
    }


def machine(
    config: DeployConfig, *, card: Wanted, storage: dict[str, Any], secure_boot: bool = False
) -> Wanted:
    """The machine itself. It keeps no state, so another release takes its place.

    Args:
        config: What `deploy.toml` says.
        card: Its network card.
        storage: Its storage profile.
        secure_boot: Whether its firmware starts only what its keys have signed. An uploaded disk
            brings no keys to Azure's firmware; a gallery's image does.
    """
    return Wanted(
        kind=Kind.MACHINE,
        identifier=config.place.identify(Kind.MACHINE, config.name),
        body={
            "location": config.location,
            "properties": {
                "hardwareProfile": {"vmSize": config.machine.size},
                "securityProfile": trusted_launch(secure_boot=secure_boot),
                "storageProfile": storage,
                "networkProfile": {
                    "networkInterfaces": [
                        {
                            "id": card.identifier,
                            "properties": {"primary": True, "deleteOption": "Detach"},
                        }
                    ]
                },
                "diagnosticsProfile": diagnostics(),
            },
        },
        remade=True,
    )


def trusted_launch(*, secure_boot: bool) -> dict[str, Any]:
    """A machine's security profile; without `securityType`, Azure ignores what is beside it."""
    return {
        "securityType": "TrustedLaunch",
        "uefiSettings": {"secureBootEnabled": secure_boot, "vTpmEnabled": True},
    }


def diagnostics() -> dict[str, Any]:
    """No boot diagnostics: they would keep what the console shows."""
    return {"bootDiagnostics": {"enabled": False}}
