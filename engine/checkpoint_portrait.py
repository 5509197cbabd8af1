"""What a person should see of a checkpoint before it is built: licence, tensors, programs, digests."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

from engine.checkpoint import CONFIG, open_checkpoint
from engine.checkpoint_text import chat_templates, stated_licence
from engine.portrait import printable
from supply_chain.digest import sha256_bytes, sha256_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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
    found = chat_templates(folder)
    if not found:
        yield from ("", "chat template: none")
    for template in found:
        digest = sha256_bytes(template.text.encode("utf-8", "surrogatepass")).hex
        yield ""
        yield f"{printable(template.where)}: a program that the server runs, sha256 {digest}"
        yield from (f"  | {printable(line)}" for line in template.text.split("\n"))
