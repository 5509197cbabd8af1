"""What a person should see of a model before serving it: its licence, its metadata, its programs.

A chat template is a program that the server runs over every conversation. It is inside the model's
file and so inside everything that is signed, but only a person can say whether it does any harm.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.model import model_facts, open_model
from supply_chain.digest import sha256_bytes, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from gguf import GGUFReader, ReaderField

_TEMPLATE = "tokenizer.chat_template"
_OF_THE_FORM = "GGUF."
_LONGEST = 200
"""Characters of one entry; templates are shown in full."""


def portray(path: Path) -> str:
    """The text that shows a model: what its file says, without believing any of it.

    Args:
        path: A GGUF file.

    Raises:
        ModelError: It is none.
    """
    reader = open_model(path)
    facts = model_facts(reader)
    types = ", ".join(f"{count} {name}" for name, count in facts.tensor_types.items())
    lines = [
        f"file          {path.name}, {path.stat().st_size} bytes, sha256 {sha256_file(path).hex}",
        f"architecture  {printable(facts.architecture) or 'not stated'}",
        f"licence       {printable(facts.licence) or 'not stated'}",
        f"tensors       {types}; sha256 {facts.tensors.hex}",
        "",
        "metadata:",
        *(f"  {printable(name)} = {value}" for name, value in _entries(reader)),
        *_templates(reader),
    ]
    return "\n".join(lines) + "\n"


def printable(text: str) -> str:
    """The text with everything that moves a cursor, or turns the reading direction, spelled out."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in text
    )


def _entries(reader: GGUFReader) -> Iterator[tuple[str, str]]:
    for name, field in reader.fields.items():
        if name.startswith((_OF_THE_FORM, _TEMPLATE)):
            continue
        if _is_array(field):
            yield name, f"{len(field.data)} items"
        else:
            value = printable(str(field.contents()))
            yield name, value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"


def _templates(reader: GGUFReader) -> Iterator[str]:
    found = [name for name in reader.fields if name.startswith(_TEMPLATE)]
    if not found:
        yield from ("", "chat template: none")
    for name in found:
        field = reader.fields[name]
        text = str(field.contents())
        yield ""
        if _is_array(field):
            yield f"{printable(name)} = {printable(text)}"
            continue
        yield f"{printable(name)}: a program that the server runs, sha256 {sha256_bytes(text.encode()).hex}"
        yield from (f"  | {printable(line)}" for line in text.split("\n"))


def _is_array(field: ReaderField) -> bool:
    from gguf import GGUFValueType  # noqa: PLC0415 - it brings numpy

    return bool(field.types[0] == GGUFValueType.ARRAY)
