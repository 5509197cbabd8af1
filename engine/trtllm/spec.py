"""What a GPU engine is made from: the strict form of its `engine.toml`."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from engine.spec import CheckpointWeights, EngineSpecError
from engine.target import GPU_KINDS
from supply_chain.errors import faults

if TYPE_CHECKING:
    from pathlib import Path

LAST_WITH_PLANS = (1, 2, 1)
"""The last version of TensorRT-LLM that builds and runs TensorRT engines."""

_NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
_DIGEST = r"^[0-9a-f]{64}$"
_IMAGE = r"^[a-z0-9][A-Za-z0-9._:/-]{0,400}@sha256:[0-9a-f]{64}$"
_VERSION = r"^\d{1,3}\.\d{1,3}\.\d{1,3}$"
_Text = Annotated[str, Field(min_length=1, max_length=1000)]
_Digest = Annotated[str, Field(pattern=_DIGEST)]
_Count = Annotated[int, Field(ge=1, le=1 << 20)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What is particular to a family of models, as the vendor's converter wants it."""

    converter: str
    """The converter's path in the vendor's container."""
    options: tuple[str, ...]
    """What it needs besides folders, type and parallelism."""
    dtype: str
    """The type of weights, of the attention plugin and of the matrix products."""


_EXAMPLES = "/app/tensorrt_llm/examples/models/core"
RECIPES = {
    "llama-2-7b": Recipe(
        converter=f"{_EXAMPLES}/llama/convert_checkpoint.py", options=(), dtype="float16"
    ),
    "gpt2-medium": Recipe(
        converter=f"{_EXAMPLES}/gpt/convert_checkpoint.py",
        options=("--gpt_variant", "gpt2"),
        dtype="float16",
    ),
}
"""The two models of the reference: in half precision, with attention and matrix plugins, a paged
KV cache and no padding, which together are what in-flight batching needs."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class ContainerSpec(_Table):
    """The vendor's container."""

    image: Annotated[str, Field(pattern=_IMAGE)]
    """Its reference, by digest."""
    version: Annotated[str, Field(pattern=_VERSION)]
    """The version of TensorRT-LLM that must be in it."""


class TimingCache(_Table):
    """What TensorRT measured in an earlier build, on the same GPU and version."""

    file: _Text
    """The file, relative to the checkout."""
    sha256: _Digest


class GpuServerSpec(_Table):
    """How the engine is served."""

    world_size: Annotated[int, Field(ge=1, le=64)]
    """GPUs that hold one copy of the model together (tensor parallelism)."""
    max_batch_size: _Count
    max_input_tokens: _Count
    max_sequence_tokens: _Count
    """Prompt and answer together."""
    max_batch_tokens: _Count


class GpuEngineSpec(_Table):
    """A GPU engine as it is asked for."""

    name: Annotated[str, Field(pattern=_NAME)]
    kind: Literal["trtllm-checkpoint", "trt-plan"]
    recipe: Literal["llama-2-7b", "gpt2-medium"]
    licence: _Text
    accept_licence: _Text | None = None
    container: ContainerSpec
    weights: CheckpointWeights
    timing_cache: TimingCache | None = None
    server: GpuServerSpec

    @model_validator(mode="after")
    def _check(self) -> Self:
        version = version_numbers(self.container.version)
        if self.kind == "trt-plan" and version > LAST_WITH_PLANS:
            raise ValueError(
                "container.version: expected at most 1.2.1, the last TensorRT-LLM with TensorRT "
                f"engines, got {self.container.version}; later ones take kind trtllm-checkpoint"
            )
        if self.kind == "trtllm-checkpoint" and self.timing_cache is not None:
            raise ValueError("timing_cache: expected none, since nothing is compiled")
        if self.server.max_input_tokens >= self.server.max_sequence_tokens:
            raise ValueError("server.max_input_tokens: expected fewer than max_sequence_tokens")
        return self


def version_numbers(version: str) -> tuple[int, ...]:
    """The numbers of a version, for comparison; a suffix such as `rc1` is left out."""
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def kind_of(text: str) -> str:
    """The kind that a description names, before anything else of it is looked at.

    Raises:
        EngineSpecError: It is not TOML.
    """
    try:
        return str(tomllib.loads(text).get("kind"))
    except tomllib.TOMLDecodeError as exc:
        raise EngineSpecError(f"engine description: not TOML: {exc}") from exc


def parse_gpu_spec(text: str) -> GpuEngineSpec:
    """The GPU engine that a TOML document describes.

    Raises:
        EngineSpecError: It is not TOML, or a key is missing, unknown or of the wrong form.
    """
    try:
        return GpuEngineSpec.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise EngineSpecError(f"engine description: not TOML: {exc}") from exc
    except ValidationError as exc:
        raise EngineSpecError(f"engine description: {faults(exc)}") from exc


def read_gpu_spec(path: Path) -> GpuEngineSpec | None:
    """The GPU engine that a file describes; None when its kind is not one for GPUs.

    Raises:
        EngineSpecError: As `parse_gpu_spec`; the text names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return parse_gpu_spec(text) if kind_of(text) in GPU_KINDS else None
    except OSError as exc:
        raise EngineSpecError(f"{path} cannot be read: {exc.strerror}") from exc
    except (EngineSpecError, UnicodeDecodeError) as exc:
        raise EngineSpecError(f"{path.name}: {exc}") from exc
