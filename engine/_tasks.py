"""Tasks about the engine alone: `engine.build` and `engine.show`."""

from __future__ import annotations

import json
import os
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from engine.gguf import MANIFEST
from engine.locked import build_locked_engine, engine_inputs
from engine.spec import read_spec
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


@task
@told()
def show(_context: Context) -> None:
    """Show the manifest of the engine in build/engine."""
    path = Workspace.at(_ROOT, os.environ).build / "engine" / MANIFEST
    if not path.is_file():
        raise Exit("no engine was built; build it: invoke engine.build", code=1)
    print(json.dumps(json.loads(path.read_bytes()), indent=2))


ns = Collection("engine", build, show)
