"""A release as one Trusted Launch machine: every resource that it needs, with its body.

Nothing reaches the guest that is not measured: without an `osProfile` there is neither a password
nor custom data nor a provisioning agent, and there are no extensions. Boot diagnostics, through
which the operator would read the console, are off. The network lets in port 443 and nothing out.

Source: azure-mgmt-compute 39 and azure-mgmt-network 33, `types.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.azure import vhd
from deploy.azure.wanted import Kind, Place, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.azure.config import DeployConfig
    from deploy.azure.upload import Image

PORT = 443
_ALLOW_PRIORITY, _DENY_PRIORITY = 1000, 4096
_SUBNET = "guest"


def place_of(config: DeployConfig) -> Place:
    """Where the deployment goes."""
    return Place(subscription=config.subscription, group=config.resource_group)


def machine_resources(config: DeployConfig, *, system: Image, app: Image) -> list[Wanted]:
    """All that one machine needs, in the order of its making.

    Args:
        config: What `deploy.toml` says.
        system: The image of the operating system's disk.
        app: The image of the application's disk.
    """
    disks = [system_disk(config, system), app_disk(config, app)]
    rules, address = security_rules(config), public_address(config)
    network = [] if config.network.subnet else [virtual_network(config)]
    addresses = [address] if config.network.public else []
    card = interface(config, rules=rules, address=address if config.network.public else None)
    return [
        resource_group(config),
        *disks,
        rules,
        *addresses,
        *network,
        card,
        machine(config, card=card, system=disks[0], app=disks[1]),
    ]


def resource_group(config: DeployConfig) -> Wanted:
    """The resource group."""
    place = place_of(config)
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
        identifier=place_of(config).identify(Kind.DISK, name),
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


def security_rules(config: DeployConfig, *, others: Sequence[str] = ()) -> Wanted:
    """The rules of the network: port 443 from the clients, and nothing else in or out.

    Args:
        config: What `deploy.toml` says.
        others: Who else may ask at that port, by Azure's service tags.
    """
    everything = {
        "access": "Deny",
        "protocol": "*",
        "sourceAddressPrefix": "*",
        "sourcePortRange": "*",
        "destinationAddressPrefix": "*",
        "destinationPortRange": "*",
        "priority": _DENY_PRIORITY,
    }
    allowed = {
        **everything,
        "access": "Allow",
        "protocol": "Tcp",
        "destinationPortRange": str(PORT),
        "direction": "Inbound",
    }
    rules: dict[str, dict[str, Any]] = {
        f"clients-{number}": {
            **allowed,
            "sourceAddressPrefix": client,
            "priority": _ALLOW_PRIORITY + number,
        }
        for number, client in enumerate((*config.network.clients, *others))
    }
    # Azure's own defaults would let in the whole virtual network, and everything out.
    rules["nothing-else-in"] = {**everything, "direction": "Inbound"}
    rules["nothing-out"] = {**everything, "direction": "Outbound"}
    return Wanted(
        kind=Kind.RULES,
        identifier=place_of(config).identify(Kind.RULES, f"{config.name}-rules"),
        body={
            "location": config.location,
            "properties": {
                "securityRules": [
                    {"name": name, "properties": rule} for name, rule in rules.items()
                ]
            },
        },
        set_again=True,
    )


def public_address(config: DeployConfig) -> Wanted:
    """An address in the Internet that stays when the machine is replaced."""
    return Wanted(
        kind=Kind.ADDRESS,
        identifier=place_of(config).identify(Kind.ADDRESS, f"{config.name}-address"),
        body={
            "location": config.location,
            "sku": {"name": "Standard"},
            "properties": {"publicIPAllocationMethod": "Static"},
        },
    )


def virtual_network(config: DeployConfig) -> Wanted:
    """A virtual network with one subnet."""
    return Wanted(
        kind=Kind.NETWORK,
        identifier=place_of(config).identify(Kind.NETWORK, f"{config.name}-network"),
        body={
            "location": config.location,
            "properties": {
                "addressSpace": {"addressPrefixes": [config.network.range]},
                "subnets": [
                    {"name": _SUBNET, "properties": {"addressPrefix": config.network.range}}
                ],
            },
        },
    )


def subnet_identifier(config: DeployConfig) -> str:
    """The subnet in which the machine is: the configured one, or that of its own network."""
    own = place_of(config).identify(Kind.NETWORK, f"{config.name}-network")
    return config.network.subnet or f"{own}/subnets/{_SUBNET}"


def interface(config: DeployConfig, *, rules: Wanted, address: Wanted | None) -> Wanted:
    """The machine's network card; the rules are its own, whoever owns the subnet."""
    settings: dict[str, Any] = {
        "primary": True,
        "privateIPAllocationMethod": "Dynamic",
        "subnet": {"id": subnet_identifier(config)},
    }
    if address is not None:
        settings["publicIPAddress"] = {"id": address.identifier}
    return Wanted(
        kind=Kind.CARD,
        identifier=place_of(config).identify(Kind.CARD, f"{config.name}-card"),
        body={
            "location": config.location,
            "properties": {
                # The image has the driver of the emulated card alone.
                "enableAcceleratedNetworking": False,
                "networkSecurityGroup": {"id": rules.identifier},
                "ipConfigurations": [{"name": "first", "properties": settings}],
            },
        },
    )


def machine(config: DeployConfig, *, card: Wanted, system: Wanted, app: Wanted) -> Wanted:
    """The machine itself. It keeps no state, so another release takes its place."""

    def attached(disk: Wanted) -> dict[str, Any]:
        # Each resource is removed by its own identifier, so nothing goes with the machine.
        return {
            "createOption": "Attach",
            "deleteOption": "Detach",
            "managedDisk": {"id": disk.identifier},
        }

    return Wanted(
        kind=Kind.MACHINE,
        identifier=place_of(config).identify(Kind.MACHINE, config.name),
        body={
            "location": config.location,
            "properties": {
                "hardwareProfile": {"vmSize": config.machine.size},
                # The disk is signed with no key that Azure's firmware knows: its keys come with a
                # gallery image alone. What was booted is in registers 4, 9 and 11 either way.
                "securityProfile": trusted_launch(secure_boot=False),
                "storageProfile": {
                    "osDisk": {"osType": "Linux", **attached(system)},
                    "dataDisks": [{"lun": 0, **attached(app)}],
                },
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
