"""What this machine has for a GPU engine, and exactly what it lacks."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from supply_chain.errors import BuildError, CommandError
from supply_chain.process import SEARCH_PATH, run

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from engine.trtllm.spec import GpuEngineSpec

    Run = Callable[[Sequence[str]], bytes]
    """Runs a program of the host; its output. Raises `CommandError` when it fails."""

QUERY = [
    "nvidia-smi",
    "--query-gpu=name,compute_cap,driver_version",
    "--format=csv,noheader",
]
ENGINES = ("podman", "docker")


class MachineError(BuildError):
    """This machine cannot build a GPU engine; the text lists all that is missing."""

    code: ClassVar[str] = "engine.machine"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU, as its driver describes it."""

    name: str
    architecture: str
    """Its compute capability, such as `8.0`."""
    driver: str
    """The driver's version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A machine that can build."""

    engine: str
    """The container engine: `podman` or `docker`."""
    gpus: tuple[Gpu, ...]


def host_run(argv: Sequence[str]) -> bytes:
    """What a program of the host wrote.

    Raises:
        CommandError: It failed.
        MissingToolError: There is none of that name.
    """
    return run(argv).stdout


def require_machine(
    spec: GpuEngineSpec, *, run: Run = host_run, search_path: str = SEARCH_PATH
) -> Machine:
    """The machine, when it has all that the engine's build needs.

    Args:
        spec: What is to be built.
        run: Runs a program of the host.
        search_path: Where programs are looked for.

    Raises:
        MachineError: Something is missing; all of it is named at once.
    """
    missing: list[str] = []
    gpus = _gpus(spec, run, search_path, missing)
    engine = next((name for name in ENGINES if shutil.which(name, path=search_path)), "")
    if not engine:
        missing.append("a container engine (apt-get install podman)")
    elif not _answers(run, [engine, "image", "inspect", spec.container.image]):
        missing.append(
            f"the container image in {engine} ({engine} pull {spec.container.image}; "
            "if that fails, see whether its service runs)"
        )
    if missing:
        raise MachineError(
            f"kind {spec.kind} is built on the GPU that it is for; this machine lacks: "
            + "; ".join(missing)
        )
    return Machine(engine=engine, gpus=gpus)


def parse_gpus(answer: bytes) -> tuple[Gpu, ...]:
    """The GPUs that `nvidia-smi` lists.

    Raises:
        MachineError: It answers otherwise than expected.
    """
    gpus = []
    for line in answer.decode("utf-8", errors="replace").splitlines():
        fields = [field.strip() for field in line.split(",")]
        if len(fields) != len(("name", "compute_cap", "driver_version")) or not all(fields):
            raise MachineError(f"nvidia-smi: expected name, architecture, driver, got {line!r}")
        gpus.append(Gpu(name=fields[0], architecture=fields[1], driver=fields[2]))
    return tuple(gpus)


def _gpus(spec: GpuEngineSpec, run: Run, search_path: str, missing: list[str]) -> tuple[Gpu, ...]:
    if not shutil.which(QUERY[0], path=search_path):
        missing.append("an NVIDIA GPU with its driver (there is no nvidia-smi)")
        return ()
    try:
        gpus = parse_gpus(run(QUERY))
    except CommandError:
        missing.append("an NVIDIA GPU whose driver answers (nvidia-smi fails)")
        return ()
    wanted = spec.server.world_size
    if len(gpus) < wanted:
        missing.append(f"{wanted} GPUs (world_size), it has {len(gpus)}")
    if len({gpu.architecture for gpu in gpus}) > 1:
        missing.append("GPUs of one architecture (CUDA_VISIBLE_DEVICES does not reach a container)")
    return gpus


def _answers(run: Run, argv: Sequence[str]) -> bool:
    try:
        run(argv)
    except CommandError:
        return False
    return True
