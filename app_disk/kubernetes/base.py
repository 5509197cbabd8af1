"""What the objects share: names, labels, numbers and paths, each with the form that it must have."""

from __future__ import annotations

from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


def _as_tuple(value: object) -> object:
    # YAML knows lists only; strict pydantic wants the tuple that a frozen value needs.
    return tuple(value) if isinstance(value, list) else value


_Item = TypeVar("_Item")
Items = Annotated[tuple[_Item, ...], BeforeValidator(_as_tuple)]
Label = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
"""A DNS label, RFC 1123."""
Labels = Annotated[dict[str, str], Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
UrlPath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._~/-]{0,200}$")]
FilePath = Annotated[str, Field(pattern=r"^/[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$")]


class KubernetesObject(BaseModel):
    """A value of the API: immutable, without fields of its own, without conversions."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, alias_generator=to_camel)

    def wire(self) -> dict[str, Any]:
        """The object as its source wrote it, JSON-shaped; what it left out is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_unset=True)


class Metadata(KubernetesObject):
    """The name and the labels of an object."""

    name: Label
    labels: dict[str, str] = {}


class Selector(KubernetesObject):
    """Which pods are meant."""

    match_labels: Labels
