"""The first difference between two builds of one artefact: where it is, inside of everything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reproduce.parts import READERS, Kit, Part
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

_BLOCK = 1 << 20
_SHOWN = 16
"""Bytes of each side that are shown."""
_DEEPEST = 8
_UNREADABLE = (BuildError, OSError, ValueError, LookupError, TypeError, AttributeError)
"""What readers raise on files that are not what they begin as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where two builds are not equal."""

    place: tuple[str, ...]
    """From the outside to the inside: partition, file, section, member."""
    what: str

    def __str__(self) -> str:
        """The place and what is different there, in one line."""
        return f"{' › '.join(self.place)}: {self.what}"


def first_difference(one: Path, other: Path, name: str, kit: Kit) -> Difference | None:
    """Return the first difference of the release's file and the rebuilt one; None without any.

    Args:
        one: The release's.
        other: The rebuilt one.
        name: What it is called.
        kit: Tools to take it apart.
    """
    return _compared(Part(name=name, content=one), Part(name=name, content=other), kit, _DEEPEST)


def _compared(one: Part, other: Part, kit: Kit, depth: int) -> Difference | None:
    if one.about != other.about:
        return _here(one.name, f"release {one.about!r}, rebuild {other.about!r}")
    if one.content is None or other.content is None:
        return None
    offset = _first_byte(one.content, other.content)
    if offset is None:
        return None
    inner = None
    if depth and not one.whole:
        inner = _inside(one.content, other.content, kit, depth - 1)
    if inner is not None:
        return replace(inner, place=(one.name, *inner.place))
    return _here(one.name, _shown(one.content, other.content, offset))


def _inside(one: Path, other: Path, kit: Kit, depth: int) -> Difference | None:
    """Return the first difference between the parts of two files; None where they have none."""
    for reader in READERS:
        try:
            ours, theirs = reader(one, kit), reader(other, kit)
        except _UNREADABLE:
            continue
        if not ours or not theirs:
            continue
        return _of_parts(ours, theirs, kit, depth)
    return None


def _of_parts(ours: list[Part], theirs: list[Part], kit: Kit, depth: int) -> Difference | None:
    rebuilt = {part.name: part for part in theirs}
    released = {part.name for part in ours}
    for part in ours:
        if part.name not in rebuilt:
            return _here(part.name, "in the release, and not in the rebuild")
        found = _compared(part, rebuilt[part.name], kit, depth)
        if found is not None:
            return found
    for part in theirs:
        if part.name not in released:
            return _here(part.name, "in the rebuild, and not in the release")
    names = [part.name for part in ours]
    if names != [part.name for part in theirs]:
        return _here(names[0], "the same parts in another order")
    return None


def _here(name: str, what: str) -> Difference:
    return Difference(place=(name,), what=what)


def _first_byte(one: Path, other: Path) -> int | None:
    """Return the offset of the first byte that differs; the shorter length where one just ends."""
    at = 0
    with one.open("rb") as ours, other.open("rb") as theirs:
        while True:
            left, right = ours.read(_BLOCK), theirs.read(_BLOCK)
            if left != right:
                pairs = enumerate(zip(left, right, strict=False))
                return at + next((n for n, (a, b) in pairs if a != b), min(len(left), len(right)))
            if not left:
                return None
            at += len(left)


def _shown(one: Path, other: Path, offset: int) -> str:
    def around(path: Path) -> str:
        with path.open("rb") as file:
            file.seek(offset)
            found = file.read(_SHOWN)
        return repr(found) if found else "nothing: it ends there"

    return f"at byte {offset}: release {around(one)}, rebuild {around(other)}"
