"""A policy as TOML text: the standard library reads TOML and does not write it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence

__all__ = ["policy_toml"]


def policy_toml(document: Mapping[str, object]) -> str:
    """Return the nested mapping as TOML: plain values first, then a table for each mapping."""
    return "\n".join(_table(document, ())) + "\n"


def _table(table: Mapping[str, object], place: tuple[str, ...]) -> Iterator[str]:
    if place:
        yield f"\n[{'.'.join(place)}]"
    inner: list[tuple[str, Mapping[str, object]]] = []
    for key, value in table.items():
        if isinstance(value, Mapping):
            inner.append((key, value))
        else:
            yield f"{key} = {_value(value)}"
    for key, child in inner:
        yield from _table(child, (*place, key))


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_value(child)}" for key, child in value.items()) + " }"
    if isinstance(value, Sequence):
        return "[" + ", ".join(_value(child) for child in value) + "]"
    raise TypeError(f"no TOML for {type(value).__name__}")


def _text(text: str) -> str:
    """Return a literal multi-line string where that is readable, else a basic string.

    A basic TOML string takes every escape that JSON writes, except for the surrogate pairs that
    `ensure_ascii` would make, and U+007F, which JSON leaves bare.
    """
    printable = all(c.isprintable() or c == "\n" for c in text)
    if "\n" in text and "'''" not in text and printable and not text.endswith("'"):
        return f"'''\n{text}'''"
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007F")
