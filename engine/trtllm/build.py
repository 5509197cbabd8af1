"""A GPU engine built in the vendor's container, with a record of all that it was made from."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

from engine.gguf import MANIFEST, canonical_json
from engine.licence import check_accepted
from engine.staging import stage_weights
from engine.trtllm.command import (
    TIMING_IN,
    WEIGHTS,
    container_argv,
    convert_argv,
    plan_argv,
    serve_argv,
    versions_argv,
)
from engine.trtllm.machine import host_run, require_machine
from engine.trtllm.spec import version_numbers
from supply_chain.digest import Sha256, sha256_file
from supply_chain.errors import BuildError, DigestMismatchError
from supply_chain.process import SEARCH_PATH

if TYPE_CHECKING:
    from pathlib import Path

    from engine.trtllm.machine import Machine, Run
    from engine.trtllm.spec import GpuEngineSpec
    from supply_chain.progress import Progress

_TENSORRT_LLM = "tensorrt_llm"


class GpuBuildError(BuildError):
    """The vendor's container holds something else than it is said to, or left no engine."""

    code: ClassVar[str] = "engine.gpu_build"


def build_gpu_engine(
    spec: GpuEngineSpec,
    *,
    root: Path,
    out: Path,
    progress: Progress,
    run: Run = host_run,
    search_path: str = SEARCH_PATH,
) -> Path:
    """The manifest of an engine in the directory `out`; all of its materials are in it.

    Args:
        spec: What is asked for.
        root: The checkout, which paths in it are relative to.
        out: An existing directory.
        progress: Where the work is told.
        run: Runs a program of the host.
        search_path: Where programs are looked for.

    Raises:
        LicenceError: The licence sets conditions and was not accepted.
        MachineError: This machine lacks something; nothing was started.
        DigestMismatchError: A file of the weights, or the timing cache, is another one.
        WeightsError: One is missing, or the signature leaves it out.
        ModelSignatureError: The weights' signature is not what is demanded.
        CommandError: A program in the container failed.
        GpuBuildError: The container is not the one that is described.
    """
    check_accepted(spec.licence, spec.accept_licence)
    machine = require_machine(spec, run=run, search_path=search_path)
    with progress.step("engine: read the weights"):
        stage_weights(
            root / spec.weights.folder,
            spec.weights.digests,
            signer=spec.weights.signer,
            base=root,
            out=out / "weights",
        )
        timing = _timing_cache(spec, root=root)
    binds = {out / "weights": (WEIGHTS, False), out: ("/out", True)}
    if timing is not None:
        binds[timing] = (TIMING_IN, False)

    def inside(argv: list[str]) -> bytes:
        return run(container_argv(machine.engine, spec.container.image, argv, binds=binds))

    versions = _versions(spec, inside(versions_argv()))
    if spec.kind == "trt-plan":
        with progress.step("engine: convert"):
            inside(convert_argv(spec))
        with progress.step("engine: compile"):
            inside(plan_argv(spec))
        # Between the two: as large as the weights, and nothing that serves reads it.
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
        if not any((out / "plan").glob("*.engine")):
            raise GpuBuildError("trtllm-build: expected plan/*.engine, it left none")
    path = out / MANIFEST
    path.write_bytes(canonical_json(gpu_manifest(spec, machine, versions=versions, out=out)))
    return path


def gpu_manifest(
    spec: GpuEngineSpec, machine: Machine, *, versions: dict[str, str], out: Path
) -> dict[str, Any]:
    """What a GPU engine is and was made from, ready for JSON.

    Args:
        spec: What was asked for.
        machine: Where it was built.
        versions: The libraries in the container.
        out: The finished engine.
    """
    plan = spec.kind == "trt-plan"
    files = sorted(path for path in out.rglob("*") if path.is_file())
    return {
        "version": 1,
        "name": spec.name,
        "kind": spec.kind,
        "licence": spec.licence,
        "rebuildable": False,
        "materials": {
            "weights": dict(spec.weights.files),
            "container": spec.container.image,
            "libraries": versions,
            "recipe": spec.recipe,
            "commands": [convert_argv(spec), plan_argv(spec)] if plan else [],
            "gpus": [asdict(gpu) for gpu in machine.gpus],
            "timing_cache": spec.timing_cache.sha256 if spec.timing_cache else None,
        },
        "files": {path.relative_to(out).as_posix(): sha256_file(path).hex for path in files},
        "server": {
            **spec.server.model_dump(),
            "command": serve_argv(spec, folder="/engine", host="127.0.0.1", port=8000),
        },
    }


def _timing_cache(spec: GpuEngineSpec, *, root: Path) -> Path | None:
    if spec.timing_cache is None:
        return None
    path = root / spec.timing_cache.file
    expected, got = Sha256.from_hex(spec.timing_cache.sha256), sha256_file(path)
    if got != expected:
        raise DigestMismatchError(spec.timing_cache.file, expected, got)
    return path


def _versions(spec: GpuEngineSpec, answer: bytes) -> dict[str, str]:
    try:
        # Libraries greet on the same stream; the answer is the last line.
        found = json.loads(answer.decode().strip().rpartition("\n")[2])
        versions = {str(name): str(version) for name, version in found.items()}
        got = versions[_TENSORRT_LLM]
    except (ValueError, KeyError, AttributeError) as exc:
        raise GpuBuildError(f"container: expected its libraries' versions, got {exc!r}") from exc
    if version_numbers(got) != version_numbers(spec.container.version):
        raise GpuBuildError(
            f"container: expected TensorRT-LLM {spec.container.version} in it, got {got}"
        )
    return versions
