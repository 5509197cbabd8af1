"""What Azure checks of galleries, balancers and scale sets besides the form of their bodies.

As with `arm_rules`: one reading of Azure, from its documents and its libraries' own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from tests.simulators.arm_rules import ArmError, Path, Resource, Store

_GALLERY = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._]{0,78}[A-Za-z0-9])?")
_VERSION = re.compile(r"(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){2}")
_MOST = 2**31 - 1


def check_fleet(path: Path, body: dict[str, Any], known: Resource | None, store: Store) -> None:
    """What a schema does not say holds.

    Raises:
        ArmError: Something does not.
    """
    name = path.identifier.rpartition("/")[2]
    properties = body.get("properties", {})
    if path.kind == "microsoft.compute/galleries" and not _GALLERY.fullmatch(name):
        raise ArmError(400, "InvalidParameter", f"gallery name {name}")
    if path.kind == "microsoft.compute/galleries/images/versions":
        _check_version(name, body, known, store)
    if path.kind == "microsoft.network/loadbalancers":
        _check_balancer(path.identifier, body, store)
    if path.kind == "microsoft.compute/virtualmachinescalesets":
        _check_scale_set(properties, store)
    if "imageReference" in properties.get("storageProfile", {}):
        _check_image(properties, store)


def _check_version(name: str, body: dict[str, Any], known: Resource | None, store: Store) -> None:
    if not _VERSION.fullmatch(name) or any(int(part) > _MOST for part in name.split(".")):
        raise ArmError(400, "InvalidParameter", f"version {name}")
    properties = body["properties"]
    if known is not None and known.body["properties"] != properties:
        raise ArmError(409, "PropertyChangeNotAllowed", "a version never changes")
    storage = properties["storageProfile"]
    images = [storage.get("osDiskImage", {}), *storage.get("dataDiskImages", [])]
    for image in images:
        disk = store.get(image["source"]["id"])
        if disk.computed.get("diskState") not in {"Unattached", "Attached"}:
            raise ArmError(409, "OperationNotAllowed", f"{disk.identifier}: not uploaded")
    regions = properties.get("publishingProfile", {}).get("targetRegions", [])
    if body["location"] not in [region["name"] for region in regions]:
        raise ArmError(400, "InvalidParameter", "targetRegions: must have the version's own")


def _check_balancer(identifier: str, body: dict[str, Any], store: Store) -> None:
    properties = body["properties"]
    parts = {
        f"{identifier}/{kind}/{one['name']}".lower()
        for kind in ("frontendIPConfigurations", "backendAddressPools", "probes")
        for one in properties.get(kind, [])
    }
    for rule in properties.get("loadBalancingRules", []):
        named = [
            rule["properties"][key]["id"]
            for key in ("frontendIPConfiguration", "backendAddressPool", "probe")
        ]
        if missing := [one for one in named if one.lower() not in parts]:
            raise ArmError(400, "InvalidResourceReference", f"{missing[0]} was not found")
    for front in properties.get("frontendIPConfigurations", []):
        settings = front["properties"]
        if ("publicIPAddress" in settings) == ("subnet" in settings):
            raise ArmError(400, "InvalidParameter", "a front has an address or a subnet")
        if "publicIPAddress" in settings:
            address = store.get(settings["publicIPAddress"]["id"])
            if address.body.get("sku") != body.get("sku"):
                raise ArmError(400, "PublicIPAndLBSkuDoNotMatch", address.identifier)


def _check_image(profile: Mapping[str, Any], store: Store) -> None:
    """A machine, or the machines of a scale set, are such as the image is for."""
    version = store.get(profile["storageProfile"]["imageReference"]["id"])
    definition = store.get(version.identifier.rpartition("/versions/")[0]).body["properties"]
    if definition["osState"] == "Specialized" and "osProfile" in profile:
        raise ArmError(400, "InvalidParameter", "osProfile is not allowed with this image")
    features = {one["name"]: one["value"] for one in definition.get("features", [])}
    security = profile.get("securityProfile", {})
    if features.get("SecurityType") != security.get("securityType"):
        raise ArmError(400, "BadRequest", "image and machines differ in securityType")
    disks = {one["lun"] for one in profile["storageProfile"].get("dataDisks", [])}
    storage = version.body["properties"]["storageProfile"]
    if disks != {one["lun"] for one in storage.get("dataDiskImages", [])}:
        raise ArmError(400, "InvalidParameter", "dataDisks: not those of the image")


def _check_scale_set(properties: Mapping[str, Any], store: Store) -> None:
    profile = properties["virtualMachineProfile"]
    _check_image(profile, store)
    rolling = properties.get("upgradePolicy", {}).get("mode") == "Rolling"
    repairs = properties.get("automaticRepairsPolicy", {}).get("enabled")
    if (rolling or repairs) and "healthProbe" not in profile["networkProfile"]:
        raise ArmError(400, "InvalidParameter", "healthProbe: required to upgrade or repair")
