"""What a person should see of a checkpoint before it is built: licence, tensors, programs, digests."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import TYPE_CHECKING, Any

from engine.checkpoint import CONFIG, CheckpointError, open_checkpoint, stated_licence
from engine.portrait import printable
from supply_chain.digest import sha256_bytes, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TOKENIZER = "tokenizer_config.json"
_TEMPLATE_FILES = ("chat_template.jinja", "chat_template.json")
_SHOWN = (".safetensors", ".json", ".model", ".txt", ".jinja", ".md")


def portray_checkpoint(folder: Path) -> str:
    """The text that shows a checkpoint: what its files say, without believing any of it.

    It ends with the table of digests that an engine's description wants.

    Args:
        folder: A folder with `config.json` and `safetensors` files.

    Raises:
        CheckpointError: It is none.
    """
    checkpoint = open_checkpoint(folder)
    types = Counter(tensor.dtype for tensor in checkpoint.tensors.values())
    kinds = [f"{count} {kind}" for kind, count in sorted(types.items())]
    parameters = sum(math.prod(tensor.shape) for tensor in checkpoint.tensors.values())
    files = [path for path in sorted(folder.iterdir()) if path.name.endswith(_SHOWN)]
    lines = [
        f"folder        {printable(folder.name)}",
        f"architecture  {printable(checkpoint.architecture) or 'not stated'}",
        f"licence       {printable(stated_licence(folder)) or 'not stated'}",
        f"tensors       {', '.join(kinds)}; {parameters} numbers",
        "",
        f"{CONFIG}:",
        *(
            f"  {printable(key)} = {printable(str(checkpoint.config[key]))}"
            for key in checkpoint.config
        ),
        *_templates(folder),
        "",
        "for the engine's description:",
        "",
        "[weights.files]",
        *(f'"{printable(path.name)}" = "{sha256_file(path).hex}"' for path in files),
    ]
    return "\n".join(lines) + "\n"


def _templates(folder: Path) -> Iterator[str]:
    found = list(_found_templates(folder))
    if not found:
        yield from ("", "chat template: none")
    for name, text in found:
        digest = sha256_bytes(text.encode("utf-8", "surrogatepass")).hex
        yield from ("", f"{printable(name)}: a program that the server runs, sha256 {digest}")
        yield from (f"  | {printable(line)}" for line in text.split("\n"))


def _found_templates(folder: Path) -> Iterator[tuple[str, str]]:
    for name in _TEMPLATE_FILES:
        if (folder / name).is_file():
            yield name, (folder / name).read_text(encoding="utf-8", errors="replace")
    path = folder / _TOKENIZER
    if not path.is_file():
        return
    try:
        said = json.loads(path.read_bytes())
    except ValueError as exc:
        raise CheckpointError(f"{_TOKENIZER}: expected JSON: {exc}") from exc
    template: Any = said.get("chat_template") if isinstance(said, dict) else None
    if isinstance(template, str):
        yield f"{_TOKENIZER} chat_template", template
    elif template is not None:
        # Several by name; whatever else it is, it is shown.
        yield f"{_TOKENIZER} chat_template", json.dumps(template, indent=1)
