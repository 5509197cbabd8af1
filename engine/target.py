"""On which machine an engine can be served, and its refusal on another one, before any boot.

Nothing but the engine's manifest is read, so that whoever deploys a release can ask.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

RELEASE_MANIFEST = "engine-manifest.json"
"""The engine's manifest in a release's folder."""

PLAN, CHECKPOINT = "trt-plan", "trtllm-checkpoint"
GPU_KINDS = frozenset({PLAN, CHECKPOINT})
"""Kinds that are described, built and recorded by `engine.trtllm`, and that no guest serves yet."""
CPU_KINDS = frozenset({"gguf", "none"})
"""Kinds that every guest serves: the server and its one CPU variant lie on the same disk."""


class TargetError(BuildError):
    """An engine was built for another GPU or version than the one that it is to run on."""

    code: ClassVar[str] = "engine.target"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """What a machine has for an engine of the GPU kinds."""

    architecture: str
    """The GPU's compute capability, such as `8.0`."""
    tensorrt_llm: str
    """The version of TensorRT-LLM that serves there."""


def check_target(manifest: Path, gpu: Gpu | None) -> str:
    """The kind of a manifest's engine, which can be served on such a machine.

    A plan is machine code for one architecture, in the format of one version; the server would
    find out minutes after the boot. A checkpoint runs on any GPU, by the version that was tested.

    Args:
        manifest: The engine's `manifest.json`, or a release's copy of it.
        gpu: What the machine has; None for a machine without a GPU.

    Raises:
        TargetError: It cannot, or the file is no engine's manifest.
    """
    try:
        document = json.loads(manifest.read_bytes())
        name, kind = str(document["name"]), str(document["kind"])
        built = _built(document["materials"]) if kind in GPU_KINDS else None
    except FileNotFoundError as exc:
        raise TargetError(
            f"{manifest}: expected the manifest of an engine, got no such file; "
            "build one: invoke engine.build --spec FILE, or a whole release: invoke release"
        ) from exc
    except (OSError, ValueError, KeyError, TypeError, IndexError) as exc:
        raise TargetError(f"{manifest}: expected the manifest of an engine: {exc!r}") from exc
    if built is None:
        if kind not in CPU_KINDS:
            raise TargetError(
                f"{name}: expected an engine of kind {', '.join(sorted(CPU_KINDS | GPU_KINDS))}, "
                f"got {kind}; deploy it with the version of this repository that made it"
            )
        return kind
    if gpu is None:
        raise TargetError(
            f"{name}: expected a machine with a GPU of architecture {built.architecture} and "
            f"TensorRT-LLM {built.tensorrt_llm}, as an engine of kind {kind} needs, got one "
            "without a GPU"
        )
    if kind == PLAN and built.architecture != gpu.architecture:
        raise TargetError(
            f"{name}: expected a GPU of architecture {built.architecture}, which it was compiled "
            f"on, got {gpu.architecture}; build it again there"
        )
    if built.tensorrt_llm != gpu.tensorrt_llm:
        raise TargetError(
            f"{name}: expected TensorRT-LLM {built.tensorrt_llm}, which made it, got "
            f"{gpu.tensorrt_llm}; serve it in the same container, or build it again in the other "
            "one"
        )
    return kind


def _built(materials: dict[str, object]) -> Gpu:
    """Return what an engine was built on and by, as its manifest records it."""
    gpus, libraries = materials["gpus"], materials["libraries"]
    if not isinstance(gpus, list) or not isinstance(libraries, dict):
        raise TypeError("materials: expected a list of gpus and a table of libraries")
    return Gpu(
        architecture=str(gpus[0]["architecture"]), tensorrt_llm=str(libraries["tensorrt_llm"])
    )
