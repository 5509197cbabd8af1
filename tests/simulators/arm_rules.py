"""What Azure's Resource Manager checks besides a body's form: names, references, states, use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

MIB = 1 << 20
LEAST_UPLOAD, MOST_UPLOAD = 20972032, 35183298347520
"""Bounds of `uploadSizeBytes`; azure-mgmt-compute 39, CreationData."""
GROUP = "resourcegroups"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,78}[A-Za-z0-9_]|[A-Za-z0-9]")
_FIRST_NAMED_PART = 6
"""subscriptions/ID/resourceGroups/NAME/providers/NAMESPACE/…"""


class ArmError(Exception):
    """A refusal with a status and Azure's code."""

    def __init__(self, status: int, code: str, message: str) -> None:
        """Keep what the body of the answer says."""
        self.status, self.code, self.message = status, code, message
        super().__init__(f"{status} {code}: {message}")

    def body(self) -> dict[str, Any]:
        """The body of the answer."""
        return {"error": {"code": self.code, "message": self.message}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Path:
    """What a path names."""

    identifier: str
    kind: str
    action: str
    """What comes behind the name, in small letters; empty when nothing does."""


def parse_path(parts: list[str], kinds: Mapping[str, object]) -> Path:
    """What a path names; Azure tells names apart without regard to case.

    Raises:
        ArmError: It names no kind of resource that there is.
    """
    low = [part.lower() for part in parts]
    if len(parts) < 4 or low[2] != GROUP:
        raise ArmError(404, "NotFound", "/".join(parts))
    if len(parts) == 4:
        return Path(identifier=_identifier(parts), kind=GROUP, action="")
    pairs = parts[_FIRST_NAMED_PART:]
    kind = "/".join([low[5], *low[_FIRST_NAMED_PART::2][: len(pairs) // 2]])
    if low[4] != "providers" or kind not in kinds:
        raise ArmError(404, "InvalidResourceType", kind)
    action = low[-1] if len(pairs) % 2 else ""
    named = parts[:-1] if action else parts
    return Path(identifier=_identifier(named), kind=kind, action=action)


def _identifier(parts: list[str]) -> str:
    if not _NAME.fullmatch(parts[-1]):
        raise ArmError(400, "InvalidResourceName", parts[-1])
    return "/" + "/".join(parts)


@dataclass(slots=True, kw_only=True)
class Resource:
    """A resource as it stands."""

    identifier: str
    kind: str
    body: dict[str, Any] = field(default_factory=dict)
    computed: dict[str, Any] = field(default_factory=dict)
    """Properties that Azure sets."""
    state: str = "Creating"

    @property
    def blob(self) -> str:
        """The name of a disk's blob."""
        return self.identifier.rsplit("/", 1)[1].lower()

    def shown(self) -> dict[str, Any]:
        """The body of an answer."""
        properties = {
            **self.body.get("properties", {}),
            **self.computed,
            "provisioningState": self.state,
        }
        managed = properties.pop("managedBy", None)
        shown = {"id": self.identifier, "name": self.identifier.rsplit("/", 1)[1], **self.body}
        return {**shown, "properties": properties, **({"managedBy": managed} if managed else {})}


class Store:
    """All resources."""

    def __init__(self) -> None:
        """None yet."""
        self._resources: dict[str, Resource] = {}

    def __iter__(self) -> Iterator[Resource]:
        return iter(self._resources.values())

    def add(self, resource: Resource) -> None:
        """One more."""
        self._resources[resource.identifier.lower()] = resource

    def find(self, identifier: str) -> Resource | None:
        """The resource of that name, if there is one."""
        return self._resources.get(identifier.lower())

    def get(self, identifier: str) -> Resource:
        """The resource of that name.

        Raises:
            ArmError: There is none.
        """
        found = self.find(identifier)
        if found is None:
            group = "/".join(identifier.split("/")[:5])
            code = "ResourceNotFound" if self.find(group) else "ResourceGroupNotFound"
            raise ArmError(404, code, f"{identifier} was not found")
        return found

    def remove(self, identifier: str) -> None:
        """It is gone, with all that is in it."""
        low = identifier.lower()
        for name in [it for it in self._resources if it == low or it.startswith(f"{low}/")]:
            gone = self._resources.pop(name)
            for disk in disks_of(gone.body):
                if (left := self.find(disk)) is not None:
                    left.computed.pop("managedBy", None)
                    left.computed["diskState"] = "Unattached"

    def require_parent(self, path: Path) -> None:
        """What the resource is in exists.

        Raises:
            ArmError: It does not.
        """
        parts = path.identifier.split("/")
        if path.kind == GROUP:
            return
        self.get("/".join(parts[:5]))
        if len(parts) > _FIRST_NAMED_PART + 3:
            parent = "/".join(parts[:-2])
            if self.find(parent) is None:
                raise ArmError(404, "ParentResourceNotFound", parent)

    def user_of(self, identifier: str) -> str:
        """Another resource, outside of this one, that names it or a part of it; empty for none."""
        low = identifier.lower()
        pattern = re.compile(rf'"{re.escape(low)}["/]')
        for name, resource in self._resources.items():
            inside = name == low or name.startswith(f"{low}/")
            if not inside and pattern.search(json.dumps(resource.body).lower()):
                return resource.identifier
        return ""


def group_faults(body: Any) -> list[str]:  # noqa: ANN401 - JSON
    """What is wrong with a resource group's body; its library ships no type for it."""
    if not isinstance(body, dict) or not isinstance(body.get("location"), str):
        return ["location: expected a text"]
    return [f"{key}: not known" for key in sorted(set(body) - {"location", "tags"})]


def check(path: Path, body: dict[str, Any], known: Resource | None, store: Store) -> None:
    """What a schema does not say holds.

    Raises:
        ArmError: Something does not.
    """
    if known is not None and known.body["location"].lower() != body["location"].lower():
        raise ArmError(409, "InvalidResourceLocation", "a resource cannot move")
    if path.kind == "microsoft.compute/disks":
        _check_disk(body, known)
    if path.kind == "microsoft.compute/virtualmachines":
        _check_machine(body, known, store)
    for reference in references(body):
        if reference.lower().startswith(f"{path.identifier.lower()}/"):
            continue  # a part of this very resource, such as a balancer's pool
        # A part of a resource, such as a subnet, is in the body of that resource.
        whole = "/".join(reference.split("/")[: _FIRST_NAMED_PART + 3])
        if store.find(reference) is None and store.find(whole) is None:
            raise ArmError(400, "InvalidResourceReference", f"{reference} was not found")


def disks_of(body: dict[str, Any]) -> list[str]:
    """The disks that a machine attaches, the first with its system."""
    storage = body.get("properties", {}).get("storageProfile", {})
    disks = [storage.get("osDisk", {}), *storage.get("dataDisks", [])]
    return [disk["managedDisk"]["id"] for disk in disks if "id" in disk.get("managedDisk", {})]


def _check_disk(body: dict[str, Any], known: Resource | None) -> None:
    properties = body.get("properties")
    if properties is None:
        raise ArmError(400, "InvalidParameter", "properties: required")
    creation = properties["creationData"]
    if creation["createOption"] != "Upload":
        raise ArmError(400, "InvalidParameter", "createOption: only Upload is simulated")
    size = creation.get("uploadSizeBytes", 0)
    if not LEAST_UPLOAD <= size <= MOST_UPLOAD or (size - 512) % MIB:
        raise ArmError(400, "InvalidParameter", f"uploadSizeBytes: {size}")
    trusted = properties.get("securityProfile", {}).get("securityType") == "TrustedLaunch"
    if trusted and properties.get("hyperVGeneration") != "V2":
        raise ArmError(400, "InvalidParameter", "TrustedLaunch needs hyperVGeneration V2")
    if trusted and "osType" not in properties:
        raise ArmError(400, "InvalidParameter", "TrustedLaunch is for disks with a system")
    if known is not None and known.body["properties"]["creationData"] != creation:
        raise ArmError(409, "PropertyChangeNotAllowed", "creationData cannot change")


def _check_machine(body: dict[str, Any], known: Resource | None, store: Store) -> None:
    properties = body.get("properties", {})
    storage = properties.get("storageProfile", {})
    attaches = storage.get("osDisk", {}).get("createOption") == "Attach"
    if attaches and "osProfile" in properties:
        raise ArmError(400, "InvalidParameter", "osProfile is not allowed with Attach")
    security = properties.get("securityProfile", {})
    trusted = security.get("securityType") == "TrustedLaunch"
    if "uefiSettings" in security and not trusted:
        raise ArmError(400, "InvalidParameter", "uefiSettings need a securityType")
    for position, identifier in enumerate(disks_of(body)):
        disk = store.get(identifier)
        user = disk.computed.get("managedBy")
        if user and (known is None or user != known.identifier):
            raise ArmError(409, "AttachDiskWhileBeingDetached", f"{identifier}: in use by {user}")
        if not user and disk.computed.get("diskState") != "Unattached":
            raise ArmError(409, "OperationNotAllowed", f"{identifier}: not uploaded")
        if position == 0 and trusted != ("securityProfile" in disk.body["properties"]):
            raise ArmError(400, "InvalidParameter", "machine and disk differ in securityType")


def references(value: Any) -> Iterator[str]:  # noqa: ANN401 - JSON
    """The identifiers that a body refers to, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "id" and isinstance(inner, str):
                yield inner
            else:
                yield from references(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner)
