"""GPU engines, as far as a machine without a GPU can say: nothing here compiles anything."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from invoke import Context
from invoke.exceptions import Exit

from engine._tasks import fits
from engine.licence import LicenceError
from engine.spec import EngineSpecError, parse_spec
from engine.target import Gpu as Target
from engine.target import TargetError, check_target
from engine.trtllm.build import GpuBuildError, build_gpu_engine
from engine.trtllm.command import container_argv, convert_argv, plan_argv, serve_argv
from engine.trtllm.machine import Gpu, MachineError, parse_gpus
from engine.trtllm.spec import (
    LAST_WITH_PLANS,
    GpuEngineSpec,
    parse_gpu_spec,
    read_gpu_spec,
    version_numbers,
)
from supply_chain.digest import sha256_bytes
from supply_chain.errors import BuildError, DigestMismatchError
from supply_chain.progress import SilentProgress
from tests.simulators.gpu_machine import GpuMachine

IMAGE = f"registry.example/tensorrt-llm/release@sha256:{'ab' * 32}"
CONFIG, WEIGHTS, CACHE = b'{"model_type": "llama"}', b"safetensors", b"measured before"
LLAMA = f"""\
name = "llama-2-7b"
kind = "trt-plan"
recipe = "llama-2-7b"
licence = "llama2"
accept_licence = "llama2"

[container]
image = "{IMAGE}"
version = "1.2.1"

[weights]
folder = "mine"

[weights.files]
"config.json" = "{sha256_bytes(CONFIG).hex}"
"model.safetensors" = "{sha256_bytes(WEIGHTS).hex}"

[server]
world_size = 1
max_batch_size = 8
max_input_tokens = 2048
max_sequence_tokens = 4096
max_batch_tokens = 8192
"""
TIMED = f"""
[timing_cache]
file = "timing.cache"
sha256 = "{sha256_bytes(CACHE).hex}"
"""
CHECKPOINT = LLAMA.replace("trt-plan", "trtllm-checkpoint")
GPT2 = LLAMA.replace('recipe = "llama-2-7b"', 'recipe = "gpt2-medium"')
Build = Callable[..., Path]


@pytest.fixture
def machine(tmp_path: Path) -> GpuMachine:
    return GpuMachine(folder=tmp_path / "bin", images=frozenset({IMAGE}))


@pytest.fixture
def build(tmp_path: Path) -> Build:
    """Builds on a machine; the weights lie in the folder `mine`."""
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_bytes(CONFIG)
    (mine / "model.safetensors").write_bytes(WEIGHTS)
    (mine / "modeling_evil.py").write_text("import os")
    (tmp_path / "timing.cache").write_bytes(CACHE)
    (tmp_path / "out").mkdir()

    def run(machine: GpuMachine, text: str = LLAMA) -> Path:
        return build_gpu_engine(
            parse_gpu_spec(text),
            root=tmp_path,
            out=tmp_path / "out",
            progress=SilentProgress(),
            run=machine.run,
            search_path=machine.search_path,
        )

    return run


def _manifest(path: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(path.read_bytes())
    return document


def test_a_plan_is_converted_and_compiled_by_the_recipe() -> None:
    llama, gpt2 = parse_gpu_spec(LLAMA + TIMED), parse_gpu_spec(GPT2)

    examples = "/app/tensorrt_llm/examples/models/core"
    folders = ["--model_dir", "/in/weights", "--output_dir", "/out/checkpoint"]
    common = [*folders, "--dtype", "float16", "--tp_size", "1"]
    assert convert_argv(llama) == ["python3", f"{examples}/llama/convert_checkpoint.py", *common]
    assert convert_argv(gpt2) == [
        *("python3", f"{examples}/gpt/convert_checkpoint.py", *common),
        *("--gpt_variant", "gpt2"),
    ]
    assert " ".join(plan_argv(llama)) == (
        "trtllm-build --checkpoint_dir /out/checkpoint --output_dir /out/plan "
        "--gpt_attention_plugin float16 --gemm_plugin float16 "
        "--kv_cache_type paged --remove_input_padding enable "
        "--max_batch_size 8 --max_input_len 2048 --max_seq_len 4096 --max_num_tokens 8192 "
        "--workers 1 --input_timing_cache /in/timing.cache --output_timing_cache /out/timing.cache"
    )
    assert "--input_timing_cache" not in plan_argv(gpt2)


@pytest.mark.parametrize(
    ("text", "model"),
    [
        (LLAMA, "/e/plan --backend tensorrt --tokenizer /e/weights"),
        (CHECKPOINT, "/e/weights --backend pytorch"),
    ],
)
def test_each_kind_is_served_by_its_backend(text: str, model: str) -> None:
    argv = serve_argv(parse_gpu_spec(text), folder="/e", host="127.0.0.1", port=1)

    assert " ".join(argv) == (
        f"trtllm-serve {model} --tp_size 1 --max_batch_size 8 --max_num_tokens 8192 "
        "--max_seq_len 4096 --host 127.0.0.1 --port 1"
    )


@pytest.mark.parametrize(
    ("engine", "gpus"), [("podman", "--device nvidia.com/gpu=all"), ("docker", "--gpus all")]
)
def test_the_container_has_the_gpus_and_no_network(engine: str, gpus: str) -> None:
    argv = container_argv(
        engine, IMAGE, ["trtllm-build", "--x"], binds={Path("/w"): ("/in", False)}
    )

    assert " ".join(argv) == (
        f"{engine} run --rm --pull=never --network=none --env=HF_HUB_OFFLINE=1 --ipc=host "
        f"{gpus} --volume=/w:/in:ro --entrypoint=trtllm-build {IMAGE} --x"
    )


def test_a_plan_records_all_that_it_was_made_from(build: Build, machine: GpuMachine) -> None:
    manifest = _manifest(build(machine, LLAMA + TIMED))

    spec = parse_gpu_spec(LLAMA + TIMED)
    assert manifest["materials"] == {
        "weights": dict(spec.weights.files),
        "container": IMAGE,
        "libraries": machine.libraries,
        "recipe": "llama-2-7b",
        "commands": [convert_argv(spec), plan_argv(spec)],
        "gpus": [{"name": "NVIDIA A100-SXM4-80GB", "architecture": "8.0", "driver": "550.54.15"}],
        "timing_cache": sha256_bytes(CACHE).hex,
    }
    assert manifest["rebuildable"] is False
    assert manifest["files"] == {
        "plan/config.json": sha256_bytes(b"{}").hex,
        "plan/rank0.engine": sha256_bytes(b"plan").hex,
        "timing.cache": sha256_bytes(b"measured").hex,
        "weights/config.json": sha256_bytes(CONFIG).hex,
        "weights/model.safetensors": sha256_bytes(WEIGHTS).hex,
    }
    assert machine.ran[1:] == manifest["materials"]["commands"]
    assert all("--network=none" in argv for argv in machine.started)


def test_a_checkpoint_is_compiled_by_nobody(build: Build, machine: GpuMachine) -> None:
    manifest = _manifest(build(machine, CHECKPOINT))

    assert manifest["materials"]["commands"] == []
    assert len(machine.ran) == 1
    # What else lies beside the weights, code above all, is not taken.
    assert set(manifest["files"]) == {"weights/config.json", "weights/model.safetensors"}


@pytest.mark.parametrize(
    ("change", "lacks"),
    [
        ({"programs": ("podman",)}, "an NVIDIA GPU with its driver (there is no nvidia-smi)"),
        ({"driver_answers": False}, "an NVIDIA GPU whose driver answers (nvidia-smi fails)"),
        ({"programs": ("nvidia-smi",)}, "a container engine (apt-get install podman)"),
        (
            {"images": frozenset()},
            (
                f"the container image in podman (podman pull {IMAGE}; "
                "if that fails, see whether its service runs)"
            ),
        ),
        (
            {"programs": ("nvidia-smi", "docker"), "images": frozenset()},
            (
                f"the container image in docker (docker pull {IMAGE}; "
                "if that fails, see whether its service runs)"
            ),
        ),
        ({"gpus": ""}, "1 GPUs (world_size), it has 0"),
        (
            {"gpus": "A, 8.0, 550\nB, 8.9, 550\n"},
            "GPUs of one architecture (CUDA_VISIBLE_DEVICES does not reach a container)",
        ),
        (
            {"programs": ()},
            (
                "an NVIDIA GPU with its driver (there is no nvidia-smi); "
                "a container engine (apt-get install podman)"
            ),
        ),
    ],
)
def test_what_a_machine_lacks_is_said_exactly_and_nothing_is_started(
    build: Build, machine: GpuMachine, change: dict[str, Any], lacks: str
) -> None:
    lacking = replace(machine, **change)

    with pytest.raises(MachineError) as caught:
        build(lacking)

    assert caught.value.code == "engine.machine"
    assert str(caught.value) == (
        "kind trt-plan is built on the GPU that it is for; this machine lacks: " + lacks
    )
    assert machine.started == []


def test_an_unknown_answer_about_gpus_is_refused() -> None:
    assert parse_gpus(b"A, 8.0, 550\n") == (Gpu(name="A", architecture="8.0", driver="550"),)
    for answer in (b"No devices were found\n", b"A, , 550\n", b"\xff\n"):
        with pytest.raises(MachineError, match="nvidia-smi: expected name") as caught:
            parse_gpus(answer)
        assert caught.value.code == "engine.machine"


def test_an_unaccepted_licence_is_refused_first(build: Build, machine: GpuMachine) -> None:
    with pytest.raises(LicenceError, match="accept_licence") as caught:
        build(replace(machine, programs=()), LLAMA.replace('accept_licence = "llama2"\n', ""))

    assert caught.value.code == "engine.licence"


@pytest.mark.parametrize("name", ["mine/model.safetensors", "timing.cache"])
def test_other_materials_are_refused(
    build: Build, machine: GpuMachine, tmp_path: Path, name: str
) -> None:
    (tmp_path / name).write_bytes(b"other")

    with pytest.raises(DigestMismatchError, match=name) as caught:
        build(machine, LLAMA + TIMED)

    assert caught.value.code == "build.digest_mismatch"
    assert machine.started == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"libraries": {"tensorrt_llm": "1.1.0"}}, "expected TensorRT-LLM 1.2.1 in it, got 1.1.0"),
        ({"libraries": {"torch": "2"}}, "expected its libraries' versions"),
        ({"leaves_plan": False}, r"expected plan/\*.engine, it left none"),
    ],
)
def test_a_container_that_is_not_as_described_is_refused(
    build: Build, machine: GpuMachine, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(GpuBuildError, match=message) as caught:
        build(replace(machine, **change))

    assert caught.value.code == "engine.gpu_build"


def test_unsigned_weights_are_refused_where_a_signature_is_demanded(
    build: Build, machine: GpuMachine
) -> None:
    signer = '[weights.signer]\nby = "key"\npublic = "key.pem"\n\n[weights.files]'

    with pytest.raises(BuildError, match="expected its signature") as caught:
        build(machine, LLAMA.replace("[weights.files]", signer))

    assert caught.value.code == "engine.signature"
    assert machine.started == []


A100 = Target(architecture="8.0", tensorrt_llm="1.2.1")
L40, OLDER = replace(A100, architecture="8.9"), replace(A100, tensorrt_llm="1.2.0")


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (L40, "expected a GPU of architecture 8.0, .* got 8.9; build it again there"),
        (OLDER, "expected TensorRT-LLM 1.2.1, which made it, got 1.2.0"),
        (None, "a GPU of architecture 8.0 and TensorRT-LLM 1.2.1, .* got one without a GPU"),
    ],
)
def test_a_plan_is_refused_elsewhere(
    build: Build, machine: GpuMachine, target: Target | None, message: str
) -> None:
    manifest = build(machine)
    check_target(manifest, A100)

    with pytest.raises(TargetError, match=message) as caught:
        check_target(manifest, target)

    assert caught.value.code == "engine.target"


@pytest.mark.parametrize("target", [OLDER, None])
def test_a_checkpoint_is_bound_to_a_version_and_to_some_gpu(
    build: Build, machine: GpuMachine, target: Target | None
) -> None:
    manifest = build(machine, CHECKPOINT)

    check_target(manifest, A100)
    check_target(manifest, L40)
    with pytest.raises(TargetError, match="got (1.2.0|one without a GPU)") as caught:
        check_target(manifest, target)
    assert caught.value.code == "engine.target"


def test_the_task_reads_a_folder(
    build: Build, machine: GpuMachine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = build(machine).parent
    fits.body(Context(), "8.0", "1.2.1", engine=str(folder))
    assert "runs on architecture 8.0 with TensorRT-LLM 1.2.1" in capsys.readouterr().out
    with pytest.raises(Exit, match=r"got 8\.9; build it again there"):
        fits.body(Context(), "8.9", "1.2.1", engine=str(folder))
    (tmp_path / "manifest.json").write_text('{"kind": "gguf", "name": "mine"}')
    fits.body(Context(), "8.9", "1.2.1", engine=str(tmp_path))
    assert "kind gguf, served by the processor" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('version = "1.2.1"', 'version = "1.3.0"', "at most 1.2.1, the last .* TensorRT engines"),
        ('version = "1.2.1"', 'version = "latest"', "container.version"),
        ("@sha256:abab", ":1.2.1", "container.image"),
        ('recipe = "llama-2-7b"', 'recipe = "bert"', "recipe"),
        ('"config.json"', '"../config.json"', "weights.files"),
        ("max_input_tokens = 2048", "max_input_tokens = 4096", "max_input_tokens: expected fewer"),
        ("world_size = 1", "world_size = 0", "world_size"),
        ("world_size = 1", "world_size = 1\ntrust_remote_code = true", "trust_remote_code"),
        ('kind = "trt-plan"', 'kind = "trtllm"', "kind"),
    ],
)
def test_a_gpu_engine_is_described_strictly(old: str, new: str, message: str) -> None:
    assert old in LLAMA

    with pytest.raises(EngineSpecError, match=message) as caught:
        parse_gpu_spec(LLAMA.replace(old, new, 1))

    assert caught.value.code == "engine.spec"


def test_a_checkpoint_has_no_timing_cache_and_may_be_newer() -> None:
    newer = CHECKPOINT.replace('version = "1.2.1"', 'version = "1.3.0"')
    spec: GpuEngineSpec = parse_gpu_spec(newer)
    assert version_numbers(spec.container.version) > LAST_WITH_PLANS

    with pytest.raises(EngineSpecError, match="timing_cache: expected none") as caught:
        parse_gpu_spec(CHECKPOINT + TIMED)
    assert caught.value.code == "engine.spec"


@pytest.mark.parametrize("text", [LLAMA, CHECKPOINT])
def test_a_release_refuses_a_kind_that_no_guest_serves(text: str) -> None:
    with pytest.raises(EngineSpecError, match="expected gguf, .* engine.build --spec") as caught:
        parse_spec(text)

    assert caught.value.code == "engine.spec"


def test_a_file_says_by_its_kind_who_reads_it(tmp_path: Path, checkout: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(LLAMA)

    assert read_gpu_spec(path) == parse_gpu_spec(LLAMA)
    assert read_gpu_spec(checkout / "engine" / "engine.toml") is None
    for content in ("[", f"{LLAMA}\nmore = 1"):
        path.write_text(content)
        with pytest.raises(EngineSpecError, match="mine.toml: engine description") as caught:
            read_gpu_spec(path)
        assert caught.value.code == "engine.spec"
    with pytest.raises(EngineSpecError, match="cannot be read"):
        read_gpu_spec(tmp_path / "absent.toml")
