"""One named change to an accepted vector, and the ways to make one."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from blindllama.errors import Code

Document = dict[str, Any]
Change = Callable[[Document], Document | bytes]

SOURCE = "alone"
BATCH = "promoted-of-five"


@dataclass(frozen=True, kw_only=True)
class Mutation:
    """One change to a genuine document, or to what the caller brings."""

    name: str
    attack: str
    """The row of ATTACKS."""
    code: Code
    step: int
    change: Change = dict
    """Of the document, which is a copy."""
    given: Mapping[str, Any] = field(default_factory=dict)
    """Of what the caller brings: dotted paths and their values, None for none at all."""
    source: str = SOURCE
    """The genuine document."""
    caller: str = "evidence"
    """Whose view is changed."""
    verify: str = "evidence"


def edit(path: str, new: Any) -> Change:  # noqa: ANN401 - any JSON value
    """Replace the value at a dotted path; a callable is given the old one."""

    def change(document: Document) -> Document:
        *parents, last = path.split(".")
        place: Any = document
        for name in parents:
            place = place[int(name) if isinstance(place, list) else name]
        key = int(last) if isinstance(place, list) else last
        place[key] = new(place[key]) if callable(new) else new
        return document

    return change


def binary(function: Callable[[bytes], bytes]) -> Callable[[str], str]:
    """The same for the bytes inside base64."""
    return lambda text: base64.b64encode(function(base64.b64decode(text))).decode()


def flip(offset: int) -> Callable[[str], str]:
    """Flip the lowest bit of one byte inside base64."""

    def change(data: bytes) -> bytes:
        position = offset % len(data)
        return data[:position] + bytes([data[position] ^ 1]) + data[position + 1 :]

    return binary(change)


def call_hash(algorithm: bytes) -> Callable[[str], str]:
    """Name another hash in a TPMT_SIGNATURE."""
    return binary(lambda data: data[:2] + algorithm + data[4:])


def text_of(function: Callable[[str], str]) -> Change:
    """Change the document as text."""
    return lambda document: function(json.dumps(document, separators=(",", ":"))).encode()


def drop(name: str) -> Change:
    return lambda document: {key: value for key, value in document.items() if key != name}


def swap(values: list[str]) -> list[str]:
    first, second, *rest = values
    return [second, first, *rest]


def slug(words: str) -> str:
    """A title as part of a file's name."""
    return "-".join(word.strip(",") for word in words.split())
