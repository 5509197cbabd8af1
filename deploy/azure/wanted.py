"""What should be in Azure: resources with their bodies, as data, in the order of their making.

A body's digest goes into a tag beside the deployment's name: so a later run knows what it made,
and whether that is what it would make today, whatever Azure has added to the body meanwhile.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from deploy.azure.upload import Image

NAME_TAG = "blindllama-deployment"
"""The tag that says which deployment made it."""
BODY_TAG = "blindllama-body"
"""The tag with a digest of the body that was asked for."""


class Kind(Enum):
    """A kind of resource, as Azure calls it. What needs others comes after them."""

    GROUP = "Microsoft.Resources/resourceGroups"
    DISK = "Microsoft.Compute/disks"
    RULES = "Microsoft.Network/networkSecurityGroups"
    ADDRESS = "Microsoft.Network/publicIPAddresses"
    NETWORK = "Microsoft.Network/virtualNetworks"
    BALANCER = "Microsoft.Network/loadBalancers"
    CARD = "Microsoft.Network/networkInterfaces"
    GALLERY = "Microsoft.Compute/galleries"
    IMAGE = "Microsoft.Compute/galleries/images"
    VERSION = "Microsoft.Compute/galleries/images/versions"
    MACHINE = "Microsoft.Compute/virtualMachines"
    SCALE_SET = "Microsoft.Compute/virtualMachineScaleSets"

    @property
    def api_version(self) -> str:
        """The version of the interface for which bodies are written.

        Source: azure-mgmt-resource 26, azure-mgmt-compute 39, azure-mgmt-network 33.
        """
        if self is Kind.GROUP:
            return "2025-04-01"
        if self is Kind.DISK:
            return "2026-03-02"
        if self.value.startswith("Microsoft.Network/"):
            return "2026-03-01"
        return "2026-03-03" if "/galleries" in self.value else "2026-04-01"

    @property
    def rank(self) -> int:
        """A number that is higher than that of each kind which this one may need."""
        return list(Kind).index(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A resource group, in which everything is."""

    subscription: str
    group: str

    @property
    def identifier(self) -> str:
        """The group's own identifier."""
        return f"/subscriptions/{self.subscription}/resourceGroups/{self.group}"

    def identify(self, kind: Kind, *names: str) -> str:
        """The identifier of a resource in it.

        Args:
            kind: What it is.
            names: Its name, after the names of what it is a part of.
        """
        if kind is Kind.GROUP:
            return self.identifier
        namespace, *types = kind.value.split("/")
        parts = "/".join(f"{one}/{name}" for one, name in zip(types, names, strict=True))
        return f"{self.identifier}/providers/{namespace}/{parts}"


def kind_of(identifier: str) -> Kind:
    """The kind of resource that an identifier names.

    Raises:
        ValueError: It names none that is known here.
    """
    parts = identifier.strip("/").split("/")
    if len(parts) == 4:
        return Kind.GROUP
    return Kind("/".join([parts[5], *parts[6::2]]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One resource as it should be."""

    kind: Kind
    identifier: str
    body: Mapping[str, Any]
    """What the Resource Manager is sent, without tags."""
    image: Image | None = None
    """What a disk is filled with."""
    remade: bool = False
    """Whether a change means to delete it and make it again: it has no state to lose."""
    set_again: bool = False
    """Whether every run sets it, so that what others have changed of it does not stay."""

    @property
    def name(self) -> str:
        """The last part of its identifier."""
        return self.identifier.rpartition("/")[2]

    @property
    def digest(self) -> str:
        """What `BODY_TAG` says of it."""
        return sha256_bytes(json.dumps(self.body, sort_keys=True).encode()).hex[:32]

    def tagged(self, deployment: str) -> dict[str, Any]:
        """The body with its tags."""
        return {**self.body, "tags": {NAME_TAG: deployment, BODY_TAG: self.digest}}
