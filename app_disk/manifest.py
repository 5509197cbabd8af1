"""Kubernetes manifests as a person writes them: plain YAML, known kinds, known fields."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

import yaml
from pydantic import ValidationError

from app_disk.kubernetes.kinds import KINDS, AnyObject
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping


class Fault(StrEnum):
    """What is wrong with a manifest."""

    SYNTAX = "syntax"
    KIND = "kind"
    FIELD = "unsupported_field"
    VALUE = "value"
    COUNT = "count"
    NAME = "name"
    SELECTOR = "selector"
    IMAGE = "image"
    NETWORK = "network"
    INGRESS = "ingress"
    VOLUME = "volume"
    CONFIG = "config"
    PROBE = "probe"
    ENGINE = "engine"


class ManifestError(BuildError):
    """A manifest asks for what a guest does not do, or contradicts itself."""

    code: ClassVar[str] = "app_disk.manifest"

    def __init__(self, fault: Fault, message: str) -> None:
        """Keep the fault for programs and the text for people."""
        self.fault = fault
        super().__init__(f"manifest: {message}")


class _StrictLoader(yaml.SafeLoader):
    """YAML without its surprises: no key twice, no anchors and no merges."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise ManifestError(Fault.SYNTAX, "expected plain YAML, got an alias (*name)")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        keys = [key.value for key, _ in node.value]
        if len(set(map(str, keys))) != len(keys):
            raise ManifestError(Fault.SYNTAX, f"expected each key once, got {keys}")
        return super().construct_mapping(node, deep)


def load_yaml(text: str) -> list[dict[str, Any]]:
    """The objects of a YAML file, JSON-shaped.

    Raises:
        ManifestError: It is not YAML, repeats a key, uses anchors, or holds something else than
            mappings.
    """
    try:
        documents = list(yaml.load_all(text, Loader=_StrictLoader))
        # What JSON cannot say (dates, binary, sets) is no Kubernetes either.
        objects: list[Any] = json.loads(json.dumps(documents, allow_nan=False))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as exc:
        raise ManifestError(Fault.SYNTAX, f"not plain YAML: {exc}") from exc
    for found in objects:
        if not isinstance(found, dict):
            raise ManifestError(Fault.SYNTAX, f"expected objects, got {found!r}")
    return objects


def parse_object(document: Mapping[str, Any]) -> AnyObject:
    """One object, each of its fields understood.

    Raises:
        ManifestError: Its kind, a field or a value is not supported.
    """
    kind = document.get("kind")
    model = KINDS.get(kind) if isinstance(kind, str) else None
    if model is None:
        raise ManifestError(Fault.KIND, f"expected a kind of {', '.join(KINDS)}, got {kind!r}")
    try:
        return model.model_validate(document)
    except ValidationError as exc:
        errors = exc.errors(include_url=False)
        unsupported = [error for error in errors if error["type"] == "extra_forbidden"]
        fault = Fault.FIELD if unsupported else Fault.VALUE
        what = "; ".join(
            f"{kind}.{'.'.join(map(str, error['loc']))}: {error['msg']}"
            for error in unsupported or errors
        )
        raise ManifestError(fault, what) from exc
