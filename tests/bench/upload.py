"""A disk with holes to Azurite, against the same disk sent whole.

The whole is what a tool does that knows nothing of holes: every 4 MiB of the disk, by as many
workers. Both go straight to an Azurite of their own, which was warmed up and is not timed itself.
"""

from __future__ import annotations

import importlib.util
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from deploy.azure import vhd
from deploy.azure.pageblob import PageBlob
from deploy.azure.piece import PIECE_BYTES
from deploy.azure.upload import MOST_WORKERS, Image, upload
from supply_chain.digest import sha256_file
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace
from tests.bench.paired import Bench, NotMeasuredError
from tests.simulators import azurite

MIB = 1 << 20
DISK_BYTES, USED = 1024 * MIB, 0.3
_ROOT = Path(__file__).resolve().parents[2]
_WARM_BYTES = 32 * MIB


@contextmanager
def disk() -> Iterator[Bench]:
    """1 GiB of which 30 % is data."""
    cache = Workspace.at(_ROOT, os.environ).cache
    if importlib.util.find_spec("azure") is None or not azurite.program(cache).exists():
        raise NotMeasuredError("It needs Azure's libraries and Azurite: `./do nox -s azure`.")
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        image, warm = Path(home, "image"), Path(home, "warm")
        _write(image, DISK_BYTES)
        _write(warm, _WARM_BYTES)
        images = [Image(path=path, sha256=sha256_file(path)) for path in (warm, image)]

        def sample(send: Callable[[Image, str, Path], None]) -> float:
            with (
                tempfile.TemporaryDirectory(dir=home) as place,
                azurite.running(Path(place), cache) as storage,
            ):
                for name, one in zip(("warm", "image"), images, strict=True):
                    storage.disk(name, vhd.upload_bytes(one.path.stat().st_size))
                    address = f"http://127.0.0.1:{storage.port}{storage.signature(name)}"
                    begin = time.perf_counter()
                    send(one, address, Path(place))
                    took = time.perf_counter() - begin
            return took

        yield Bench(
            name="a disk of 1 GiB, 30 % of it data, sent to Azurite without its holes, against all of it",
            subject=lambda: sample(_sparse),
            baseline=lambda: sample(_whole),
            at_most_ratio=0.2,
            rounds=5,
        )


def _write(path: Path, size: int) -> None:
    """A file of which 30 % are bytes that do not compress, in runs of 1 to 32 MiB."""
    rng = random.Random(size)
    with path.open("wb") as file:
        file.truncate(size)
        position = 0
        while position < size:
            run = min(rng.randint(1, 32) * MIB, size - position)
            file.seek(position)
            file.write(rng.randbytes(int(run * USED) // 4096 * 4096))
            position += run


def _sparse(image: Image, address: str, place: Path) -> None:
    upload(image, lambda: address, journals=place / "journals", progress=SilentProgress())


def _whole(image: Image, address: str, _place: Path) -> None:
    size = image.path.stat().st_size
    blob = PageBlob(address)
    with image.path.open("rb") as file, ThreadPoolExecutor(MOST_WORKERS) as pool:
        put = [
            pool.submit(lambda at: blob.put(at, os.pread(file.fileno(), PIECE_BYTES, at)), offset)
            for offset in range(0, size, PIECE_BYTES)
        ]
        for future in put:
            future.result()
    blob.put(size, vhd.footer(size, image.sha256))
    blob.close()
