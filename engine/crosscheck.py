"""A second opinion of the quantiser: every tensor again in numpy, by code that shares none with it.

A quantised model cannot be compared with its weights by eye, and `llama-quantize` is the one
program of the build whose arithmetic decides what the model answers. So each tensor that it wrote
is either the published one, byte for byte, or equals what the published one rounds to in numpy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    import numpy as np
    from gguf import GGUFReader, ReaderTensor

    from engine.spec import Quantisation

OUTPUT_TENSORS = frozenset({"output.weight", "token_embd.weight"})
"""Matrices that are spared the coarse types: they are rounded to `OUTPUT_TYPE` at most."""
OUTPUT_TYPE = "Q8_0"
_NEVER_ROUNDED = frozenset({"position_embd.weight"})
_WRITTEN_BY_QUANTISER = frozenset({"general.file_type", "general.quantization_version"})
_OF_THE_FORM = "GGUF."
"""How the reader names the file's own header among the metadata."""


class QuantisationError(BuildError):
    """A model is not what its weights round to, or its metadata is not theirs."""

    code: ClassVar[str] = "engine.quantisation"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrossCheck:
    """Every tensor of a model was found equal; how many of them in which way."""

    kept: int
    """Tensors that are the published bytes."""
    rounded: int
    """Tensors that equal the published ones rounded in numpy."""


def cross_check(published: GGUFReader, made: GGUFReader, quantisation: Quantisation) -> CrossCheck:
    """How a model's tensors come from its weights, when all of them do.

    Args:
        published: The weights.
        made: What the quantiser made of them.
        quantisation: The type that it was asked for.

    Raises:
        QuantisationError: A tensor or an entry of the metadata is missing, added or different.

    Source: llama.cpp, tools/quantize and src/llama-quant.cpp, for which tensor gets which type.
    """
    _same_metadata(published, made)
    before = {str(tensor.name): tensor for tensor in published.tensors}
    after = {str(tensor.name): tensor for tensor in made.tensors}
    _same_names("tensor", set(before), set(after))
    kept = 0
    for name in sorted(before):
        kept += _check_tensor(before[name], after[name], quantisation)
    return CrossCheck(kept=kept, rounded=len(before) - kept)


def _check_tensor(before: ReaderTensor, after: ReaderTensor, quantisation: Quantisation) -> bool:
    """Return whether the tensor was kept as published."""
    name = str(before.name)
    if list(before.shape) != list(after.shape):
        raise QuantisationError(
            f"{name}: expected the shape {list(map(int, before.shape))}, "
            f"got {list(map(int, after.shape))}"
        )
    was, became = before.tensor_type.name, after.tensor_type.name
    allowed = _allowed_types(name, was, len(before.shape), quantisation)
    if became not in allowed:
        raise QuantisationError(f"{name}: expected {' or '.join(sorted(allowed))}, got {became}")
    if was == became:
        _same_bytes(name, before.data, after.data)
        return True
    _same_bytes(name, _rounded(before, after), after.data)
    return False


def _allowed_types(name: str, was: str, dimensions: int, quantisation: Quantisation) -> set[str]:
    # Vectors are few and exact: norms and biases.
    if dimensions < 2 or name in _NEVER_ROUNDED:
        return {was}
    return {quantisation, OUTPUT_TYPE} if name in OUTPUT_TENSORS else {quantisation}


def _rounded(before: ReaderTensor, after: ReaderTensor) -> np.ndarray:
    # Here and not above: it brings numpy, which takes longer than all that a kept engine needs.
    from gguf import quants  # noqa: PLC0415

    try:
        exact = quants.dequantize(before.data, before.tensor_type)
        rounded: np.ndarray = quants.quantize(exact, after.tensor_type)
    except NotImplementedError as exc:
        raise QuantisationError(
            f"{before.name}: expected a type that numpy reads too, got "
            f"{before.tensor_type.name} and {after.tensor_type.name}: {exc}"
        ) from exc
    return rounded


def _same_bytes(name: str, expected: np.ndarray, got: np.ndarray) -> None:
    if expected.tobytes() != got.tobytes():
        raise QuantisationError(f"{name}: expected what the published weights round to, got other")


def _same_metadata(published: GGUFReader, made: GGUFReader) -> None:
    before, after = _metadata(published), _metadata(made)
    _same_names("metadata", set(before), set(after))
    for name, value in before.items():
        if after[name] != value:
            raise QuantisationError(f"metadata {name}: expected it as published, got another value")


def _metadata(reader: GGUFReader) -> dict[str, bytes]:
    # The parts of an entry lie one behind the other; a vocabulary has a hundred thousand of them.
    return {
        name: reader.data[
            field.offset : field.offset + sum(part.nbytes for part in field.parts)
        ].tobytes()
        for name, field in reader.fields.items()
        if not name.startswith(_OF_THE_FORM) and name not in _WRITTEN_BY_QUANTISER
    }


def _same_names(what: str, before: set[str], after: set[str]) -> None:
    if before == after:
        return
    missing, added = sorted(before - after), sorted(after - before)
    raise QuantisationError(
        f"{what}: expected as published; missing {', '.join(missing) or 'none'}, "
        f"added {', '.join(added) or 'none'}"
    )
