"""A release as one machine that starts only what keys of one's own have signed.

The keys reach Azure's firmware with a version of a gallery image alone, so the machine is made of
one, and its disks are copies of the two that were uploaded: Azure makes them with the machine and
takes them away with it.

Source: azure-mgmt-compute 39, `types.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.azure.gallery import gallery, image_definition, image_version
from deploy.azure.machine import (
    app_disk,
    machine,
    resource_group,
    system_disk,
)
from deploy.azure.network import network_resources

if TYPE_CHECKING:
    from deploy.azure.config import DeployConfig
    from deploy.azure.secure_boot import SecureBoot
    from deploy.azure.upload import Image
    from deploy.azure.wanted import Wanted


def secure_machine_resources(
    config: DeployConfig, *, app: Image, sequence: int, keys: SecureBoot
) -> list[Wanted]:
    """All that such a machine needs, in the order of its making.

    Args:
        config: What `deploy.toml` says.
        app: The image of the application's disk.
        sequence: The release's number.
        keys: The Secure Boot keys, and the disk that they have signed.
    """
    disks = [system_disk(config, keys.system), app_disk(config, app)]
    *network, card = network_resources(config)
    version = image_version(config, disks, sequence=sequence, keys=keys)
    return [
        resource_group(config),
        *disks,
        *network,
        card,
        gallery(config),
        image_definition(config),
        version,
        machine(config, card=card, storage=_copied(config, version), secure_boot=True),
    ]


def _copied(config: DeployConfig, version: Wanted) -> dict[str, Any]:
    disk = {
        "createOption": "FromImage",
        # These have no identifier of ours: what Azure makes with the machine goes with it.
        "deleteOption": "Delete",
        "managedDisk": {"storageAccountType": config.machine.disk_sku},
    }
    return {
        "imageReference": {"id": version.identifier},
        "osDisk": {"osType": "Linux", **disk},
        "dataDisks": [{"lun": 0, **disk}],
    }
