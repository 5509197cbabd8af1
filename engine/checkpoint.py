"""A model as Hugging Face publishes it: `config.json` and tensors in `safetensors` files.

Read here without the converter's libraries, because what is read here checks the converter.
"""

from __future__ import annotations

import json
import math
import mmap
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from supply_chain.errors import BuildError, faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import numpy as np

CONFIG = "config.json"
_SUFFIX = ".safetensors"
_INDEX = "model.safetensors.index.json"
_HEADER_AT = 8
_MOST_HEADER_BYTES = 100_000_000
"""The limit of the format's own library."""
_WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}


class CheckpointError(BuildError):
    """A checkpoint is damaged, or of a kind that is not converted."""

    code: ClassVar[str] = "engine.checkpoint"


_Count = Annotated[int, Field(strict=True, ge=0)]


class _Entry(BaseModel):
    """One tensor in the header of a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dtype: Literal["F32", "F16", "BF16", "U8", "BOOL", "I64"]
    shape: tuple[_Count, ...]
    data_offsets: tuple[_Count, _Count]


class _Header(BaseModel):
    """The header of a file, without its free text."""

    model_config = ConfigDict(frozen=True)

    tensors: dict[str, _Entry] = Field(min_length=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One tensor of a checkpoint, mapped and not read."""

    dtype: str
    """`F32`, `F16` or `BF16`; masks and the like may have others, and have no `values`."""
    shape: tuple[int, ...]
    _data: memoryview

    def values(self) -> np.ndarray:
        """Its numbers as float32, which holds each of the three types exactly.

        Raises:
            CheckpointError: It is of another type.
        """
        import numpy as np  # noqa: PLC0415 - it takes longer than all that a kept engine needs

        if self.dtype not in _WIDTHS:
            raise CheckpointError(f"tensor: expected {', '.join(_WIDTHS)}, got {self.dtype}")
        if self.dtype == "BF16":
            # The upper half of a float32.
            wide = np.frombuffer(self._data, dtype="<u2").astype("<u4") << 16
            return wide.view("<f4").reshape(self.shape)
        stored = np.frombuffer(self._data, dtype={"F32": "<f4", "F16": "<f2"}[self.dtype])
        return stored.astype("<f4").reshape(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A checkpoint in a folder."""

    folder: Path
    config: Mapping[str, Any]
    """What `config.json` says."""
    tensors: Mapping[str, Tensor]

    @property
    def architecture(self) -> str:
        """The one class of models that it is of, as Hugging Face names it; empty if there is none."""
        named = self.config.get("architectures")
        return str(named[0]) if isinstance(named, list) and len(named) == 1 else ""


def open_checkpoint(folder: Path) -> Checkpoint:
    """The checkpoint in a folder, its tensors mapped and not read.

    Raises:
        CheckpointError: A file is missing or malformed, or two hold the same tensor.

    Source: safetensors, README, "Format"; safetensors/src/tensor.rs for its rules.
    """
    try:
        config = json.loads((folder / CONFIG).read_bytes())
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{CONFIG}: expected JSON: {exc}") from exc
    if not isinstance(config, dict):
        raise CheckpointError(f"{CONFIG}: expected an object, got {type(config).__name__}")
    tensors: dict[str, Tensor] = {}
    for path in sorted(folder.glob(f"*{_SUFFIX}")):
        for name, tensor in _tensors(path):
            if name in tensors:
                raise CheckpointError(f"{path.name}: {name}: expected once, it is in two files")
            tensors[name] = tensor
    if not tensors:
        raise CheckpointError(f"weights: expected a file *{_SUFFIX}, got none")
    _check_index(folder, tensors)
    return Checkpoint(folder=folder, config=config, tensors=tensors)


def hide_tensors(path: Path, names: frozenset[str]) -> None:
    """A file's header no longer names some of its tensors; their bytes stay, unnamed.

    The header keeps its length, so that nothing else of the file changes.

    Args:
        path: The file, which is changed in place.
        names: Those to be left out; others may be among them.
    """
    with path.open("r+b") as file:
        size, header = _raw_header(path.name, file)
        kept = {name: entry for name, entry in header.items() if name not in names}
        if len(kept) != len(header):
            file.seek(_HEADER_AT)
            text = json.dumps(kept, separators=(",", ":"), ensure_ascii=False)
            file.write(text.encode().ljust(size))


def _check_index(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse a checkpoint in parts of which one is missing."""
    path = folder / _INDEX
    if not path.is_file():
        return
    try:
        where = json.loads(path.read_bytes())["weight_map"]
        absent = sorted({str(where[name]) for name in where.keys() - tensors.keys()})
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise CheckpointError(f"{_INDEX}: expected an index of tensors: {exc!r}") from exc
    if absent:
        raise CheckpointError(
            f"{_INDEX}: expected all of its tensors, got none of some in {', '.join(absent)}; "
            "name every part of the checkpoint"
        )


def _tensors(path: Path) -> Iterator[tuple[str, Tensor]]:
    with path.open("rb") as file:
        size, header = _raw_header(path.name, file)
        header.pop("__metadata__", None)
        try:
            entries = _Header.model_validate({"tensors": header}).tensors
        except ValidationError as exc:
            raise CheckpointError(f"{path.name}: {faults(exc)}") from exc
        data = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    data = data[_HEADER_AT + size :]
    end = 0
    for name, entry in sorted(entries.items(), key=lambda item: item[1].data_offsets):
        start, stop = entry.data_offsets
        width = _WIDTHS.get(entry.dtype)
        if start != end or not start <= stop <= len(data):
            raise CheckpointError(
                f"{path.name}: {name}: expected it from byte {end} on and within {len(data)}, "
                f"got {start} to {stop}"
            )
        if width is not None and stop - start != math.prod(entry.shape) * width:
            raise CheckpointError(
                f"{path.name}: {name}: expected {math.prod(entry.shape) * width} bytes for the "
                f"shape {list(entry.shape)}, got {stop - start}"
            )
        end = stop
        yield name, Tensor(dtype=entry.dtype, shape=entry.shape, _data=data[start:stop])
    if end != len(data):
        raise CheckpointError(f"{path.name}: expected {end} bytes of data, got {len(data)}")


def _raw_header(name: str, file: BinaryIO) -> tuple[int, dict[str, Any]]:
    """Return the length of a header and the header; the file stands behind it."""
    prefix = file.read(_HEADER_AT)
    size = int.from_bytes(prefix, "little") if len(prefix) == _HEADER_AT else 0
    try:
        if not 0 < size <= _MOST_HEADER_BYTES:
            header = None
        else:
            header = json.loads(file.read(size), object_pairs_hook=_once)
    except (ValueError, RecursionError) as exc:
        raise CheckpointError(f"{name}: expected the header of a safetensors file: {exc}") from exc
    if not isinstance(header, dict):
        raise CheckpointError(f"{name}: expected the header of a safetensors file, got none")
    return size, header


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name occurs twice")
    return document
