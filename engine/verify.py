"""An engine that lies there, checked against its description and its weights, down to each tensor."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from engine.crosscheck import CrossCheck, cross_check
from engine.gguf import MANIFEST, MODEL, canonical_json, engine_manifest
from engine.licence import check_licence
from engine.model import model_facts, open_model
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

    from engine.spec import EngineSpec


class EngineMismatchError(BuildError):
    """An engine is not what its description and its weights make."""

    code: ClassVar[str] = "engine.mismatch"


def verify_engine(folder: Path, spec: EngineSpec, *, weights: Path) -> CrossCheck:
    """How the engine's tensors come from the weights, when all of it is as the description says.

    The manifest is computed once more and compared as bytes, so that nothing in it is taken from
    the folder itself; no program is run.

    Args:
        folder: The engine, `model.gguf` and `manifest.json`.
        spec: Its description.
        weights: The published weights as a GGUF file, as `locked_weights` hands them out.

    Raises:
        EngineMismatchError: A file is missing, or the manifest says something else.
        BuildError: As `cross_check` and `check_licence`; or the model is no GGUF file.
    """
    claimed = read_manifest(folder)
    published, made = open_model(weights), open_model(folder / MODEL)
    source = model_facts(published)
    check_licence(spec, stated=source.licence)
    expected = engine_manifest(
        spec, published=source, facts=model_facts(made), model=folder / MODEL
    )
    if claimed != canonical_json(expected):
        raise EngineMismatchError(_difference(expected, claimed))
    return cross_check(published, made, spec.quantisation)


def read_manifest(folder: Path) -> bytes:
    """The bytes of an engine's manifest, which nothing vouches for yet.

    Raises:
        EngineMismatchError: The folder is no engine.
    """
    missing = [name for name in (MODEL, MANIFEST) if not (folder / name).is_file()]
    if missing:
        raise EngineMismatchError(
            f"{folder}: expected {MODEL} and {MANIFEST}, got no {missing[0]}; "
            "build it: invoke engine.build"
        )
    return (folder / MANIFEST).read_bytes()


def _difference(expected: dict[str, Any], claimed: bytes) -> str:
    try:
        got = dict(_leaves(json.loads(claimed)))
    except ValueError:
        return f"{MANIFEST}: expected JSON, got something else"
    wanted = dict(_leaves(expected))
    for name in sorted({*wanted, *got}):
        if wanted.get(name) != got.get(name):
            return f"{MANIFEST}: {name}: expected {wanted.get(name)!r}, got {got.get(name)!r}"
    return f"{MANIFEST}: expected its one form: sorted, without spaces, a newline at the end"


def _leaves(document: object, prefix: str = "") -> list[tuple[str, object]]:
    if not isinstance(document, dict):
        return [(prefix, document)]
    return [
        leaf
        for key, value in document.items()
        for leaf in _leaves(value, f"{prefix}.{key}" if prefix else str(key))
    ]
