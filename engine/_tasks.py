"""Tasks about the engine alone: made, checked, shown."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from invoke.collection import Collection
from invoke.context import Context
from invoke.tasks import task

from engine.checkpoint import CONFIG
from engine.checkpoint_portrait import portray_checkpoint
from engine.export import export_engine, key_signature, local_signature
from engine.gguf import MANIFEST, MODEL
from engine.locked import build_locked_engine, engine_inputs, locked_weights
from engine.portrait import portray
from engine.signature import SIGNATURE, named_signer, verify_folder_signature
from engine.spec import read_spec
from engine.target import CPU_KINDS, Gpu, check_target
from engine.trtllm.build import build_gpu_engine
from engine.trtllm.spec import read_gpu_spec
from engine.verify import verify_engine
from supply_chain.digest import sha256_file
from supply_chain.front import told
from supply_chain.host import require_root
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.passphrase import given_passphrase
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace, fresh_dir

_ROOT = Path(__file__).resolve().parent.parent
_SPEC = _ROOT / "engine" / "engine.toml"


@task(help={"spec": "the engine's description (default: engine/engine.toml)"})
@told()
def build(_context: Context, spec: str = str(_SPEC)) -> None:
    """Build the engine into build/engine, outside of the signed chain."""
    workspace = Workspace.at(_ROOT, os.environ)
    progress = ConsoleProgress()
    gpu = read_gpu_spec(Path(spec))
    if gpu is not None:
        folder = workspace.build / "gpu-engine"
        with workspace.exclusive(progress), fresh_dir(folder) as out:
            build_gpu_engine(gpu, root=_ROOT, out=out, progress=progress)
        print(f"{folder}: {gpu.name}, {gpu.kind}; recorded in manifest.json, not rebuildable")
        return
    require_root()
    wanted = read_spec(Path(spec))
    inputs = LockedInputs.at(workspace)
    with workspace.exclusive(progress):
        fetch(inputs.lock, engine_inputs(wanted), inputs.store, progress, environ=os.environ)
        with fresh_dir(workspace.build / "engine") as out:
            engine = build_locked_engine(
                wanted, inputs=inputs, root=_ROOT, out=out, progress=progress
            )
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
    fetch(inputs.lock, engine_inputs(wanted), inputs.store, progress, environ=os.environ)
    with tempfile.TemporaryDirectory(prefix="engine-verify-") as scratch:
        weights = locked_weights(
            wanted,
            inputs=inputs,
            root=_ROOT,
            scratch=Path(scratch),
            progress=progress,
        )
        folder = Path(engine) if engine else workspace.build / "engine"
        checked = verify_engine(folder, wanted, weights=weights)
    print(f"{folder}: {wanted.name}, as its description and its weights say")
    print(f"{checked.kept} tensors are as published, {checked.rounded} are those rounded in numpy")


@task(help={"model": "a GGUF file, an engine's folder or a checkpoint's (default: build/engine)"})
@told()
def inspect(_context: Context, model: str = "") -> None:
    """Show a model's licence, metadata and chat template, believing none of it."""
    path = Path(model) if model else Workspace.at(_ROOT, os.environ).build / "engine"
    if (path / CONFIG).is_file():
        print(portray_checkpoint(path), end="")
    else:
        print(portray(path / MODEL if path.is_dir() else path), end="")


@task(
    help={
        "engine": "the engine's folder (default: build/engine)",
        "key": "sign with this elliptic-curve key, a PEM file; otherwise with the local Sigstore",
        "certificate": "the PEM file of the key's certificate",
        "chain": "the PEM file of the certificates between it and its authority",
    }
)
@told()
def sign(
    _context: Context, engine: str = "", key: str = "", certificate: str = "", chain: str = ""
) -> None:
    """Copy an engine to dist/engine with an OpenSSF model signature over it."""
    workspace = Workspace.at(_ROOT, os.environ)
    folder = Path(engine) if engine else workspace.build / "engine"
    passphrase = given_passphrase(os.environ)
    with contextlib.ExitStack() as stack:
        how = (
            key_signature(Path(key), certificate, chain, passphrase)
            if key
            else stack.enter_context(local_signature(workspace.state, passphrase))
        )
        signed = export_engine(folder, workspace.dist / "engine", how)
    print(f"{signed}: signed in {SIGNATURE}")


@task(
    name="verify-signature",
    help={
        "folder": "a folder of weights, or a signed engine",
        "key": "the PEM file of the public key that must have signed it",
        "roots": "or: the PEM file of the authority whose certificate must have",
        "identity": "or: the Sigstore identity that must have",
        "issuer": "the identity's issuer",
        "trust-config": "the trust configuration of the identity's Sigstore",
    },
)
@told()
def verify_signature(
    _context: Context,
    folder: str,
    key: str = "",
    roots: str = "",
    identity: str = "",
    issuer: str = "",
    trust_config: str = "",
) -> None:
    """Verify a folder's OpenSSF model signature; list its signed files with their digests."""
    signer = named_signer(
        public=key, roots=roots, identity=identity, issuer=issuer, trust_config=trust_config
    )
    for name in sorted(verify_folder_signature(Path(folder), signer, base=Path.cwd())):
        print(f"{sha256_file(Path(folder) / name).hex}  {name}")


@task(
    help={
        "architecture": "the GPU's compute capability there, such as 8.0",
        "version": "TensorRT-LLM's version there",
        "engine": "the GPU engine's folder (default: build/gpu-engine)",
    }
)
@told()
def fits(_context: Context, architecture: str, version: str, engine: str = "") -> None:
    """Check, before any boot, that an engine can run on a GPU with a TensorRT-LLM."""
    folder = Path(engine) if engine else Workspace.at(_ROOT, os.environ).build / "gpu-engine"
    kind = check_target(folder / MANIFEST, Gpu(architecture=architecture, tensorrt_llm=version))
    if kind in CPU_KINDS:
        print(f"{folder}: kind {kind}, served by the processor, with a GPU or without")
    else:
        print(f"{folder}: runs on architecture {architecture} with TensorRT-LLM {version}")


ns = Collection("engine", build, verify, inspect, sign, verify_signature, fits)
