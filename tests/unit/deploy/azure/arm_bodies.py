"""Bodies that the simulated Resource Manager takes, to be spoilt by its tests."""

from __future__ import annotations

from typing import Any

from tests.simulators.arm import SUBSCRIPTION

MIB = 1 << 20
WHERE = "westeurope"
GROUP = "group"
PREFIX = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/{GROUP}/providers"

OS_DISK: dict[str, Any] = {
    "location": WHERE,
    "sku": {"name": "StandardSSD_LRS"},
    "properties": {
        "osType": "Linux",
        "hyperVGeneration": "V2",
        "securityProfile": {"securityType": "TrustedLaunch"},
        "creationData": {"createOption": "Upload", "uploadSizeBytes": 24 * MIB + 512},
    },
}
RULES: dict[str, Any] = {
    "location": WHERE,
    "properties": {
        "securityRules": [
            {
                "name": "https",
                "properties": {
                    "priority": 1010,
                    "direction": "Inbound",
                    "access": "Allow",
                    "protocol": "Tcp",
                    "sourceAddressPrefix": "*",
                    "sourcePortRange": "*",
                    "destinationAddressPrefix": "*",
                    "destinationPortRange": "443",
                },
            }
        ]
    },
}
NETWORK: dict[str, Any] = {
    "location": WHERE,
    "properties": {
        "addressSpace": {"addressPrefixes": ["10.0.0.0/16"]},
        "subnets": [
            {
                "name": "default",
                "properties": {
                    "addressPrefix": "10.0.0.0/24",
                    "networkSecurityGroup": {
                        "id": f"{PREFIX}/Microsoft.Network/networkSecurityGroups/rules"
                    },
                },
            }
        ],
    },
}
ADDRESS: dict[str, Any] = {
    "location": WHERE,
    "sku": {"name": "Standard"},
    "properties": {"publicIPAllocationMethod": "Static"},
}
CARD: dict[str, Any] = {
    "location": WHERE,
    "properties": {
        "ipConfigurations": [
            {
                "name": "first",
                "properties": {
                    "subnet": {
                        "id": f"{PREFIX}/Microsoft.Network/virtualNetworks/network/subnets/default"
                    },
                    "publicIPAddress": {
                        "id": f"{PREFIX}/Microsoft.Network/publicIPAddresses/address"
                    },
                },
            }
        ]
    },
}
MACHINE: dict[str, Any] = {
    "location": WHERE,
    "properties": {
        "hardwareProfile": {"vmSize": "Standard_NC24ads_A100_v4"},
        "securityProfile": {
            "securityType": "TrustedLaunch",
            "uefiSettings": {"secureBootEnabled": False, "vTpmEnabled": True},
        },
        "storageProfile": {
            "osDisk": {
                "osType": "Linux",
                "createOption": "Attach",
                "managedDisk": {"id": f"{PREFIX}/Microsoft.Compute/disks/os"},
                "deleteOption": "Delete",
            }
        },
        "networkProfile": {
            "networkInterfaces": [
                {
                    "id": f"{PREFIX}/Microsoft.Network/networkInterfaces/card",
                    "properties": {"primary": True, "deleteOption": "Delete"},
                }
            ]
        },
    },
}
