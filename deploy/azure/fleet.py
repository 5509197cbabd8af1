"""A release as many Trusted Launch machines behind one address: a gallery image and a scale set.

Every instance is made from one version of a gallery image, has a TPM of its own and makes a TLS key
of its own when it boots. The load balancer passes connections on and sees no more of them than the
network does; clients attest whichever instance they have reached, on the same connection.

Another release is another version: the scale set puts new instances beside the old ones, and takes
an old one away when a new one answers.

Source: azure-mgmt-compute 39 and azure-mgmt-network 33, `types.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.azure.gallery import gallery, image_definition, image_version
from deploy.azure.machine import (
    app_disk,
    diagnostics,
    resource_group,
    system_disk,
    trusted_launch,
)
from deploy.azure.network import (
    PORT,
    public_address,
    security_rules,
    subnet_identifier,
    virtual_network,
)
from deploy.azure.wanted import Kind, Wanted

if TYPE_CHECKING:
    from deploy.azure.config import DeployConfig, FleetChoice
    from deploy.azure.secure_boot import SecureBoot
    from deploy.azure.upload import Image

_FRONT, _POOL, _PROBE, _RULE = "front", "instances", "answers", "https"
_IDLE_MINUTES = 15
"""Longer than a model may think without a byte, which is ten minutes for the client."""
_GRACE = "PT30M"
"""How long a new instance may take before it is replaced for not answering; Azure's shortest is
ten minutes."""


def fleet_resources(
    config: DeployConfig,
    fleet: FleetChoice,
    *,
    system: Image,
    app: Image,
    sequence: int,
    keys: SecureBoot | None = None,
) -> list[Wanted]:
    """All that a scale set needs, in the order of its making.

    Args:
        config: What `deploy.toml` says.
        fleet: What it says about the fleet.
        system: The image of the operating system's disk.
        app: The image of the application's disk.
        sequence: The release's number.
        keys: Secure Boot keys, and the signed image in the place of the other; without them
            Secure Boot is off.
    """
    disks = [system_disk(config, system if keys is None else keys.system), app_disk(config, app)]
    # Azure's own address asks whether an instance answers; it is not among the clients.
    rules = security_rules(config, others=("AzureLoadBalancer",))
    address = public_address(config) if config.network.public else None
    front = balancer(config, address)
    version = image_version(config, disks, sequence=sequence, keys=keys)
    return [
        resource_group(config),
        *disks,
        rules,
        *([] if address is None else [address]),
        *([] if config.network.subnet else [virtual_network(config)]),
        front,
        gallery(config),
        image_definition(config),
        version,
        scale_set(config, fleet, version=version, rules=rules, front=front, keys=keys),
    ]


def balancer(config: DeployConfig, address: Wanted | None) -> Wanted:
    """The load balancer of layer 4: port 443 in, and no way out through it."""
    identifier = config.place.identify(Kind.BALANCER, f"{config.name}-balancer")
    front: dict[str, Any] = (
        {
            "privateIPAllocationMethod": "Dynamic",
            "subnet": {"id": subnet_identifier(config)},
        }
        if address is None
        else {"publicIPAddress": {"id": address.identifier}}
    )
    return Wanted(
        kind=Kind.BALANCER,
        identifier=identifier,
        body={
            "location": config.location,
            "sku": {"name": "Standard"},
            "properties": {
                "frontendIPConfigurations": [{"name": _FRONT, "properties": front}],
                "backendAddressPools": [{"name": _POOL}],
                # Only whether the port answers: that probes of HTTPS speak TLS 1.3, no document says.
                "probes": [
                    {
                        "name": _PROBE,
                        "properties": {
                            "protocol": "Tcp",
                            "port": PORT,
                            "intervalInSeconds": 5,
                            "probeThreshold": 2,
                        },
                    }
                ],
                "loadBalancingRules": [{"name": _RULE, "properties": _balancing(identifier)}],
            },
        },
    )


def _balancing(balancer: str) -> dict[str, Any]:
    return {
        "frontendIPConfiguration": {"id": f"{balancer}/frontendIPConfigurations/{_FRONT}"},
        "backendAddressPool": {"id": f"{balancer}/backendAddressPools/{_POOL}"},
        "probe": {"id": f"{balancer}/probes/{_PROBE}"},
        "protocol": "Tcp",
        "frontendPort": PORT,
        "backendPort": PORT,
        "idleTimeoutInMinutes": _IDLE_MINUTES,
        "enableTcpReset": True,
        "disableOutboundSnat": True,
    }


def scale_set(
    config: DeployConfig,
    fleet: FleetChoice,
    *,
    version: Wanted,
    rules: Wanted,
    front: Wanted,
    keys: SecureBoot | None = None,
) -> Wanted:
    """The machines. One that stops answering is replaced; another release replaces them in turn."""
    disk = {
        "createOption": "FromImage",
        "managedDisk": {"storageAccountType": config.machine.disk_sku},
    }
    return Wanted(
        kind=Kind.SCALE_SET,
        identifier=config.place.identify(Kind.SCALE_SET, config.name),
        body={
            "location": config.location,
            "sku": {"name": config.machine.size, "tier": "Standard", "capacity": fleet.instances},
            "properties": {
                "orchestrationMode": "Uniform",
                # More machines than asked for would be paid for, and attested, only to go again.
                "overprovision": False,
                "singlePlacementGroup": False,
                "upgradePolicy": {
                    "mode": "Rolling",
                    "rollingUpgradePolicy": {
                        "maxBatchInstancePercent": 20,
                        "maxUnhealthyInstancePercent": 20,
                        "maxUnhealthyUpgradedInstancePercent": 20,
                        "maxSurge": True,
                    },
                },
                "automaticRepairsPolicy": {
                    "enabled": True,
                    "gracePeriod": _GRACE,
                    "repairAction": "Replace",
                },
                "virtualMachineProfile": {
                    "securityProfile": trusted_launch(secure_boot=keys is not None),
                    "storageProfile": {
                        "imageReference": {"id": version.identifier},
                        "osDisk": {"osType": "Linux", **disk},
                        "dataDisks": [{"lun": 0, **disk}],
                    },
                    "networkProfile": {
                        "healthProbe": {"id": f"{front.identifier}/probes/{_PROBE}"},
                        "networkInterfaceConfigurations": [_card(config, rules, front)],
                    },
                    "diagnosticsProfile": diagnostics(),
                },
            },
        },
    )


def _card(config: DeployConfig, rules: Wanted, front: Wanted) -> dict[str, Any]:
    pool = {"id": f"{front.identifier}/backendAddressPools/{_POOL}"}
    return {
        "name": "card",
        "properties": {
            "primary": True,
            # The image has the driver of the emulated card alone.
            "enableAcceleratedNetworking": False,
            "networkSecurityGroup": {"id": rules.identifier},
            "ipConfigurations": [
                {
                    "name": "first",
                    "properties": {
                        "primary": True,
                        "subnet": {"id": subnet_identifier(config)},
                        "loadBalancerBackendAddressPools": [pool],
                    },
                }
            ],
        },
    }
