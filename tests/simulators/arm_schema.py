"""Closed JSON schemas of what Azure's Resource Manager is sent, made from Azure's own types.

The management libraries ship a TypedDict for each body, generated from Azure's specification. A
schema made of one refuses an unknown key, a wrong nesting, type or word, and a missing key. What
the specification does not say stands in `tests/simulators/arm.py`.
"""

from __future__ import annotations

import functools
import importlib
import types
from enum import Enum
from typing import Any, Literal, Required, Union, get_args, get_origin, get_type_hints, is_typeddict

import jsonschema
import typing_extensions

_OPEN = frozenset({"vmSize"})
"""Their enumerations are deprecated and incomplete: no size with a current GPU is in it."""
_PLAIN: dict[Any, dict[str, Any]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    Any: {},
}
_UNIONS = (Union, types.UnionType)
_REQUIRED = (Required, typing_extensions.Required)


@functools.cache
def validator(library: str, name: str) -> jsonschema.Draft202012Validator:
    """What checks a body.

    Args:
        library: `compute` or `network`.
        name: The type of the body, for example `Disk`.
    """
    return jsonschema.Draft202012Validator(_Schemas(library).closed(name))


def faults(library: str, name: str, body: object) -> list[str]:
    """What is wrong with a body: where, and what; empty when nothing is."""
    return [
        f"{'.'.join(map(str, fault.absolute_path)) or name}: {fault.message}"
        for fault in validator(library, name).iter_errors(body)
    ]


class _Schemas:
    """The definitions that one body needs, directly or not."""

    def __init__(self, library: str) -> None:
        module = importlib.import_module(f"azure.mgmt.{library}.types")
        models = importlib.import_module(f"azure.mgmt.{library}.models")
        # Models have the same names: the dictionaries win, the models add the enumerations.
        self._names = {**vars(models), **vars(module)}
        self._module = vars(module)
        self._definitions: dict[str, dict[str, Any]] = {}

    def closed(self, name: str) -> dict[str, Any]:
        reference = self._dictionary(self._module[name])
        return {**reference, "$defs": self._definitions}

    def _dictionary(self, kind: Any) -> dict[str, Any]:  # noqa: ANN401 - a TypedDict has no type
        name = kind.__name__
        if name not in self._definitions:
            # First the name, since a type may hold itself.
            definition = self._definitions[name] = {"type": "object", "additionalProperties": False}
            hints = get_type_hints(kind, globalns=self._names, include_extras=True)
            # __required_keys__ forgets that an inherited class was not total.
            definition["required"] = [
                k for k, hint in hints.items() if get_origin(hint) in _REQUIRED
            ]
            definition["properties"] = {
                key: {"type": "string"} if key in _OPEN else self._schema(hint)
                for key, hint in hints.items()
            }
        return {"$ref": f"#/$defs/{name}"}

    def _schema(self, hint: Any) -> dict[str, Any]:  # noqa: ANN401 - an annotation is anything
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in _REQUIRED:
            return self._schema(arguments[0])
        if origin is not None:
            return self._generic(origin, arguments)
        if is_typeddict(hint) or typing_extensions.is_typeddict(hint):
            return self._dictionary(hint)
        if isinstance(hint, type) and issubclass(hint, Enum):
            return {"enum": [it.value for it in hint]}
        return _PLAIN[hint]

    def _generic(self, origin: object, arguments: tuple[Any, ...]) -> dict[str, Any]:
        if origin in _UNIONS:
            # `str | Enum` is how an enumeration is written that may grow; here it may not.
            known = [it for it in arguments if isinstance(it, type) and issubclass(it, Enum)]
            return {"anyOf": [self._schema(it) for it in known or arguments]}
        if origin is Literal:
            return {"enum": [getattr(it, "value", it) for it in arguments]}
        if origin is list:
            return {"type": "array", "items": self._schema(arguments[0])}
        if origin is dict:
            return {"type": "object", "additionalProperties": self._schema(arguments[1])}
        raise TypeError(f"no schema for {origin}")
