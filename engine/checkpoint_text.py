"""What the texts of a checkpoint say that becomes the model's: its licence and its chat templates."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from engine.checkpoint import CheckpointError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CARD = "README.md"
_TEMPLATE = "chat_template"
_ALONE = "chat_template.jinja"
_IN_JSON = ("chat_template.json", "tokenizer_config.json")


@dataclass(frozen=True, slots=True)
class ChatTemplate:
    """A program that a server runs over every conversation."""

    where: str
    """The file that it is in, with its name where that file has several."""
    text: str


def stated_licence(folder: Path) -> str:
    """The licence that a checkpoint's model card states, which becomes the model's; else empty.

    Raises:
        CheckpointError: The head of the card is not YAML.

    Source: Hugging Face, Model Cards, "Model card metadata".
    """
    path = folder / CARD
    if not path.is_file():
        return ""
    opened, _, rest = path.read_text(encoding="utf-8", errors="replace").partition("---\n")
    head, closed, _ = rest.partition("\n---")
    if opened.strip() or not closed:
        return ""
    try:
        stated = yaml.safe_load(head)
    except yaml.YAMLError as exc:
        raise CheckpointError(f"{CARD}: expected YAML between its lines ---: {exc}") from exc
    licence = stated.get("license") if isinstance(stated, dict) else None
    return licence if isinstance(licence, str) else ""


def chat_templates(folder: Path) -> tuple[ChatTemplate, ...]:
    """The chat templates of a checkpoint, wherever a reader of it might take one from.

    Raises:
        CheckpointError: A file that may hold one is not of its form.

    Source: Hugging Face transformers, tokenization_utils_base.py, for the three places.
    """
    found = []
    if (folder / _ALONE).is_file():
        text = (folder / _ALONE).read_text(encoding="utf-8", errors="replace")
        found.append(ChatTemplate(_ALONE, text))
    for name in _IN_JSON:
        if (folder / name).is_file():
            found.extend(_of_json(folder / name))
    return tuple(found)


def _of_json(path: Path) -> Iterator[ChatTemplate]:
    try:
        said = json.loads(path.read_bytes())
    except ValueError as exc:
        raise CheckpointError(f"{path.name}: expected JSON: {exc}") from exc
    value: Any = said.get(_TEMPLATE) if isinstance(said, dict) else None
    if value is None:
        return
    if isinstance(value, str):
        yield ChatTemplate(path.name, value)
        return
    named = value if isinstance(value, list) else [value]
    for one in named:
        if not (
            isinstance(one, dict)
            and isinstance(one.get("name"), str)
            and isinstance(one.get("template"), str)
        ):
            raise CheckpointError(
                f"{path.name}: {_TEMPLATE}: expected a text, or a list of names with templates"
            )
        yield ChatTemplate(f"{path.name}, {one['name']}", one["template"])
