"""A release's disks as a version of a gallery image, of which Azure makes machines.

A fleet needs one, and so does Secure Boot with keys of one's own: a disk that is uploaded has no
place for them.

Source: azure-mgmt-compute 39, `types.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from deploy.azure.wanted import Kind, Wanted
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.azure.config import DeployConfig
    from deploy.azure.secure_boot import SecureBoot

IMAGE = "blindllama"
"""The name of the image in its gallery; releases are its versions."""


def gallery(config: DeployConfig) -> Wanted:
    """The gallery, which nobody else sees."""
    identifier = config.place.identify(Kind.GALLERY, _gallery_name(config))
    return Wanted(kind=Kind.GALLERY, identifier=identifier, body={"location": config.location})


def image_definition(config: DeployConfig) -> Wanted:
    """The image without its bytes: specialized, so Azure neither sets it up nor puts an agent in."""
    identifier = config.place.identify(Kind.IMAGE, _gallery_name(config), IMAGE)
    return Wanted(
        kind=Kind.IMAGE,
        identifier=identifier,
        body={
            "location": config.location,
            "properties": {
                "osType": "Linux",
                "osState": "Specialized",
                "hyperVGeneration": "V2",
                "architecture": "x64",
                "identifier": {"publisher": IMAGE, "offer": config.name, "sku": "trusted-launch"},
                "features": [{"name": "SecurityType", "value": "TrustedLaunch"}],
            },
        },
    )


def image_version(
    config: DeployConfig, disks: Sequence[Wanted], *, sequence: int, keys: SecureBoot | None = None
) -> Wanted:
    """The release's two disks as a version of the image; its number says which release it is."""
    system, app = disks
    # Three numbers below 2^31: the release's, and one of its content, since versions never change.
    settings = None if keys is None else keys.settings()
    content = f"{system.identifier} {app.identifier} {settings}".lower().encode()
    name = f"{sequence}.0.{int(sha256_bytes(content).hex[:7], 16)}"
    properties: dict[str, Any] = {
        "storageProfile": {
            "osDiskImage": {"source": {"id": system.identifier}},
            "dataDiskImages": [{"lun": 0, "source": {"id": app.identifier}}],
        },
        "publishingProfile": {
            "replicaCount": 1,
            "targetRegions": [{"name": config.location, "regionalReplicaCount": 1}],
        },
    }
    if settings is not None:
        properties["securityProfile"] = {"uefiSettings": settings}
    return Wanted(
        kind=Kind.VERSION,
        identifier=config.place.identify(Kind.VERSION, _gallery_name(config), IMAGE, name),
        body={"location": config.location, "properties": properties},
    )


def _gallery_name(config: DeployConfig) -> str:
    # A gallery's name takes no hyphen.
    return f"{config.name.replace('-', '_')}_gallery"
