from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.gguf import MANIFEST, MODEL, canonical_json, engine_manifest
from engine.licence import LicenceError
from engine.model import read_model
from engine.spec import EngineSpec
from engine.verify import EngineMismatchError, verify_engine
from supply_chain.digest import sha256_file
from supply_chain.errors import BuildError
from tests.unit.engine.conftest import ModelWriter


@pytest.fixture
def weights(write_model: ModelWriter) -> Path:
    return write_model("weights.gguf", seed=1)


@pytest.fixture
def wanted(spec: EngineSpec, weights: Path) -> EngineSpec:
    source = spec.weights.model_copy(update={"sha256": sha256_file(weights).hex})
    return spec.model_copy(update={"weights": source, "quantisation": "Q8_0"})


@pytest.fixture
def engine(wanted: EngineSpec, weights: Path, write_model: ModelWriter, tmp_path: Path) -> Path:
    """An engine of the weights, as a build would leave it."""
    folder = tmp_path / "engine"
    folder.mkdir()
    types = {"a.weight": "Q8_0", "b.weight": "Q8_0"}
    write_model("model.gguf", seed=1, types=types).rename(folder / MODEL)
    _write_manifest(folder, wanted, weights)
    return folder


def _write_manifest(folder: Path, wanted: EngineSpec, weights: Path) -> None:
    model = folder / MODEL
    manifest = engine_manifest(
        wanted, published=read_model(weights), facts=read_model(model), model=model
    )
    (folder / MANIFEST).write_bytes(canonical_json(manifest))


def test_an_engine_is_as_its_description_and_its_weights_say(
    engine: Path, wanted: EngineSpec, weights: Path
) -> None:
    checked = verify_engine(engine, wanted, weights=weights)

    assert (checked.kept, checked.rounded) == (0, 2)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("name", "another", "manifest.json: name: expected 'another', got 'smollm2-135m-instruct'"),
        ("quantisation", "Q4_0", "manifest.json: quantisation: expected 'Q4_0', got 'Q8_0'"),
    ],
)
def test_another_description_is_refused(
    engine: Path, wanted: EngineSpec, weights: Path, field: str, value: str, message: str
) -> None:
    with pytest.raises(EngineMismatchError, match=message) as caught:
        verify_engine(engine, wanted.model_copy(update={field: value}), weights=weights)

    assert caught.value.code == "engine.mismatch"


def test_another_model_is_refused(
    engine: Path, wanted: EngineSpec, weights: Path, write_model: ModelWriter
) -> None:
    write_model("other.gguf", seed=2, types={"a.weight": "Q8_0"}).rename(engine / MODEL)

    with pytest.raises(EngineMismatchError, match="model.sha256: expected") as caught:
        verify_engine(engine, wanted, weights=weights)

    assert caught.value.code == "engine.mismatch"


def test_a_manifest_that_agrees_with_a_false_model_does_not_help_it(
    engine: Path, wanted: EngineSpec, weights: Path, write_model: ModelWriter
) -> None:
    types = {"a.weight": "Q8_0", "b.weight": "Q8_0"}
    write_model("other.gguf", seed=2, types=types).rename(engine / MODEL)
    _write_manifest(engine, wanted, weights)

    with pytest.raises(BuildError, match="a.weight: expected what the published") as caught:
        verify_engine(engine, wanted, weights=weights)

    assert caught.value.code == "engine.quantisation"


def test_a_manifest_of_another_form_is_refused(
    engine: Path, wanted: EngineSpec, weights: Path
) -> None:
    document = json.loads((engine / MANIFEST).read_bytes())
    for text in (json.dumps(document, indent=1), "{"):
        (engine / MANIFEST).write_text(text)
        with pytest.raises(EngineMismatchError, match="manifest.json: expected") as caught:
            verify_engine(engine, wanted, weights=weights)
        assert caught.value.code == "engine.mismatch"


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
def test_a_missing_file_is_refused(
    engine: Path, wanted: EngineSpec, weights: Path, name: str
) -> None:
    (engine / name).unlink()

    with pytest.raises(EngineMismatchError, match=f"got no {name}; build it") as caught:
        verify_engine(engine, wanted, weights=weights)

    assert caught.value.code == "engine.mismatch"


def test_other_weights_are_refused(
    engine: Path, wanted: EngineSpec, write_model: ModelWriter
) -> None:
    with pytest.raises(EngineMismatchError, match="weights.tensors.sha256: expected") as caught:
        verify_engine(engine, wanted, weights=write_model("w2.gguf", seed=3))

    assert caught.value.code == "engine.mismatch"


def test_a_licence_that_nobody_accepted_is_refused(
    engine: Path, wanted: EngineSpec, write_model: ModelWriter
) -> None:
    weights = write_model("gemma.gguf", licence="gemma", seed=1)
    source = wanted.weights.model_copy(update={"sha256": sha256_file(weights).hex})
    gemma = wanted.model_copy(update={"weights": source, "licence": "gemma"})

    with pytest.raises(LicenceError, match="accept_licence") as caught:
        verify_engine(engine, gemma, weights=weights)

    assert caught.value.code == "engine.licence"
