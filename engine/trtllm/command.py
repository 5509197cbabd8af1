"""The commands of a GPU engine: pure lists of arguments, of the container and inside it.

Source: TensorRT-LLM 1.2.1, examples/models/core, `trtllm-build --help`, `trtllm-serve --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.trtllm.spec import RECIPES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from engine.trtllm.spec import GpuEngineSpec

WEIGHTS, CHECKPOINT, PLAN = "/in/weights", "/out/checkpoint", "/out/plan"
TIMING_IN, TIMING_OUT = "/in/timing.cache", "/out/timing.cache"

_VERSIONS = (
    "import json, tensorrt, tensorrt_llm, torch; "
    "print(json.dumps({'tensorrt': tensorrt.__version__, "
    "'tensorrt_llm': tensorrt_llm.__version__, "
    "'torch': torch.__version__, 'cuda': torch.version.cuda}))"
)


def container_argv(
    engine: str, image: str, inner: Sequence[str], *, binds: Mapping[Path, tuple[str, bool]]
) -> list[str]:
    """The command that runs another one in the vendor's container, with all GPUs.

    Args:
        engine: `podman` or `docker`.
        image: The image by digest; it must be there.
        inner: The command inside.
        binds: Files and folders by their path here: the path inside, and whether it is writable.
    """
    gpus = ["--device", "nvidia.com/gpu=all"] if engine == "podman" else ["--gpus", "all"]
    volumes = [
        f"--volume={host}:{inside}:{'rw' if writable else 'ro'}"
        for host, (inside, writable) in binds.items()
    ]
    return [
        engine,
        "run",
        "--rm",
        # Never another image than the one that was looked at, and nothing of the network inside.
        "--pull=never",
        "--network=none",
        "--env=HF_HUB_OFFLINE=1",
        # Shared memory of the processes that share one model.
        "--ipc=host",
        *gpus,
        *volumes,
        # The image's own first program prints a banner, which would be in what is read.
        f"--entrypoint={inner[0]}",
        image,
        *inner[1:],
    ]


def versions_argv() -> list[str]:
    """The command that says, as JSON, which libraries the container has."""
    return ["python3", "-c", _VERSIONS]


def convert_argv(spec: GpuEngineSpec) -> list[str]:
    """The command that writes the weights as a TensorRT-LLM checkpoint, one part for each GPU."""
    recipe = RECIPES[spec.recipe]
    return [
        "python3",
        recipe.converter,
        "--model_dir",
        WEIGHTS,
        "--output_dir",
        CHECKPOINT,
        "--dtype",
        recipe.dtype,
        "--tp_size",
        str(spec.server.world_size),
        *recipe.options,
    ]


def plan_argv(spec: GpuEngineSpec) -> list[str]:
    """The command that compiles the checkpoint for the GPU that it runs on."""
    server, dtype = spec.server, RECIPES[spec.recipe].dtype
    known = [] if spec.timing_cache is None else ["--input_timing_cache", TIMING_IN]
    return [
        "trtllm-build",
        "--checkpoint_dir",
        CHECKPOINT,
        "--output_dir",
        PLAN,
        "--gpt_attention_plugin",
        dtype,
        "--gemm_plugin",
        dtype,
        # In-flight batching needs both: requests join and leave a batch between two tokens.
        "--kv_cache_type",
        "paged",
        "--remove_input_padding",
        "enable",
        "--max_batch_size",
        str(server.max_batch_size),
        "--max_input_len",
        str(server.max_input_tokens),
        "--max_seq_len",
        str(server.max_sequence_tokens),
        "--max_num_tokens",
        str(server.max_batch_tokens),
        "--workers",
        str(server.world_size),
        *known,
        "--output_timing_cache",
        TIMING_OUT,
    ]


def serve_argv(spec: GpuEngineSpec, *, folder: str, host: str, port: int) -> list[str]:
    """The command of the model server in the container.

    Args:
        spec: The engine.
        folder: Where it is mounted.
        host: The address to listen on.
        port: The port.
    """
    server = spec.server
    of_kind = (
        [f"{folder}/weights", "--backend", "pytorch"]
        if spec.kind == "trtllm-checkpoint"
        else [f"{folder}/plan", "--backend", "tensorrt", "--tokenizer", f"{folder}/weights"]
    )
    return [
        "trtllm-serve",
        *of_kind,
        "--tp_size",
        str(server.world_size),
        "--max_batch_size",
        str(server.max_batch_size),
        "--max_num_tokens",
        str(server.max_batch_tokens),
        "--max_seq_len",
        str(server.max_sequence_tokens),
        "--host",
        host,
        "--port",
        str(port),
    ]
