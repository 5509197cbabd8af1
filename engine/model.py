"""What a GGUF file says about itself: architecture, licence, chat template, tensors."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from gguf import GGUFReader


class ModelError(BuildError):
    """A model file is not what the engine needs."""

    code: ClassVar[str] = "engine.model"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """The part of a model's metadata that the engine's manifest states."""

    architecture: str
    """llama.cpp's name of the architecture."""
    licence: str
    """The licence that the file states, as it is spelled there; empty when it states none."""
    context_tokens: int | None
    """The longest context that the model was made for, in tokens; None when it states none."""
    chat_template: Sha256 | None
    """Digest of the chat template's UTF-8 text: it is a program that the server runs."""
    tensor_types: Mapping[str, int]
    """How many tensors there are of each type."""
    tensors: Sha256
    """Digest of all tensors (name, type, shape, data) in the order of their names.

    It does not depend on the order of the file or on metadata, so that it tells whether two files
    compute the same.
    """


def read_model(path: Path) -> ModelFacts:
    """The facts of a GGUF file.

    Raises:
        ModelError: It is no GGUF file, or it is cut off.
    """
    return model_facts(open_model(path))


def model_facts(reader: GGUFReader) -> ModelFacts:
    """The facts of a GGUF file that is open.

    Raises:
        ModelError: An entry of its metadata has another type than it must have.

    Source: ggml, docs/gguf.md, version 3.
    """
    template = _text(reader, "tokenizer.chat_template")
    architecture = _text(reader, "general.architecture") or ""
    return ModelFacts(
        architecture=architecture,
        licence=_text(reader, "general.license") or "",
        context_tokens=_number(reader, f"{architecture}.context_length"),
        chat_template=None if template is None else sha256_bytes(template.encode()),
        tensor_types=dict(
            sorted(Counter(tensor.tensor_type.name for tensor in reader.tensors).items())
        ),
        tensors=_tensor_digest(reader),
    )


def open_model(path: Path) -> GGUFReader:
    """The parts of a GGUF file, mapped and not read.

    Raises:
        ModelError: It is no GGUF file, or it is cut off.
    """
    # Imported here: it brings numpy, which takes longer than all that a kept engine needs.
    from gguf import GGUFReader  # noqa: PLC0415

    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError) as exc:
        raise ModelError(f"{path.name} is not a readable GGUF file: {exc}") from exc


def _text(reader: GGUFReader, key: str) -> str | None:
    field = reader.get_field(key)
    if field is None:
        return None
    value = field.contents()
    if not isinstance(value, str):
        raise ModelError(f"GGUF metadata {key}: expected a text, got {type(value).__name__}")
    return value


def _number(reader: GGUFReader, key: str) -> int | None:
    field = reader.get_field(key)
    if field is None:
        return None
    value = field.contents()
    if not isinstance(value, int):
        raise ModelError(f"GGUF metadata {key}: expected a number, got {type(value).__name__}")
    return value


def check_context(stated: int | None, wanted: int) -> None:
    """Nothing: a model that states such a context was made for so many tokens.

    Raises:
        ModelError: It was made for a shorter one; beyond it, its answers would be noise.
    """
    if stated is not None and wanted > stated:
        raise ModelError(
            f"server.context_tokens (engine.toml): expected at most {stated}, "
            f"the context that the model was made for, got {wanted}"
        )


def _tensor_digest(reader: GGUFReader) -> Sha256:
    hasher = hashlib.sha256()
    for tensor in sorted(reader.tensors, key=lambda tensor: str(tensor.name)):
        shape = ",".join(str(int(columns)) for columns in tensor.shape)
        data = hashlib.sha256(tensor.data.tobytes())
        head = f"{tensor.name}\0{tensor.tensor_type.name}\0{shape}\0"
        hasher.update(head.encode() + data.digest())
    return Sha256(hasher.digest())
