"""Bench of the engine's build: what reading weights costs besides their hash."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from supply_chain.digest import sha256_private
from tests.bench.paired import Bench, timed

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
