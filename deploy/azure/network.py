"""The network of a release in Azure: port 443 in, nothing else in, and nothing out.

Source: azure-mgmt-network 33, `types.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.azure.wanted import Kind, Wanted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.azure.config import DeployConfig

PORT = 443
_ALLOW_PRIORITY, _DENY_PRIORITY = 1000, 4096
_SUBNET = "guest"


def network_resources(config: DeployConfig) -> list[Wanted]:
    """All that one machine needs to be reached; its network card comes last."""
    rules = security_rules(config)
    address = public_address(config) if config.network.public else None
    return [
        rules,
        *([] if address is None else [address]),
        *([] if config.network.subnet else [virtual_network(config)]),
        interface(config, rules=rules, address=address),
    ]


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
        identifier=config.place.identify(Kind.RULES, f"{config.name}-rules"),
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
        identifier=config.place.identify(Kind.ADDRESS, f"{config.name}-address"),
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
        identifier=config.place.identify(Kind.NETWORK, f"{config.name}-network"),
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
    own = config.place.identify(Kind.NETWORK, f"{config.name}-network")
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
        identifier=config.place.identify(Kind.CARD, f"{config.name}-card"),
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
