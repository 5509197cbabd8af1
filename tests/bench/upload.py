"""A disk with holes to Azurite, against the same disk sent whole, and as Azure's library sends it.

Azure's library (`upload_blob`, which is what `az storage blob upload` calls) reads the whole disk,
leaves out what is zero for 4 MiB, and sends by as many connections as ours. The whole by the same requests as ours says
what holes alone are worth. All go straight to an Azurite of their own that was warmed up, which is
not timed, and that keeps blobs in memory: otherwise it waits for this machine's disk after each
request.
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
_WARM_PAGES, _WARM_BYTES = 1024, 64 << 10


_Send = Callable[[Image, str, Path], None]
"""Sends an image to an address; may use a folder."""


@contextmanager
def library() -> Iterator[Bench]:
    """Against what a user would take instead: Azure's own library, with as many connections."""
    with _disk("it by `upload_blob` of Azure's library, 8 connections", _by_library) as bench:
        yield bench


@contextmanager
def whole() -> Iterator[Bench]:
    """Against every byte by the same requests as ours; 0.30 of them are data."""
    with _disk("all of it by the same requests", _whole) as bench:
        yield bench


@contextmanager
def _disk(against: str, baseline: _Send) -> Iterator[Bench]:
    """1 GiB of which 30 % is data."""
    cache = Workspace.at(_ROOT, os.environ).cache
    if importlib.util.find_spec("azure") is None or not azurite.program(cache).exists():
        raise NotMeasuredError("It needs Azure's libraries and Azurite: `./do nox -s azure`.")
    with tempfile.TemporaryDirectory(prefix="bench-") as home:
        path = Path(home, "image")
        _write(path, DISK_BYTES)
        image = Image(path=path, sha256=sha256_file(path))

        def sample(send: _Send) -> float:
            with (
                tempfile.TemporaryDirectory(dir=home) as place,
                azurite.running(Path(place), cache, in_memory=True) as storage,
            ):
                _warm(_address(storage, "warm", _WARM_PAGES * _WARM_BYTES))
                address = _address(storage, "image", DISK_BYTES)
                begin = time.perf_counter()
                send(image, address, Path(place))
                return time.perf_counter() - begin

        yield Bench(
            name=f"a disk of 1 GiB, 30 % of it data, to Azurite without its holes, against {against}",
            subject=lambda: sample(_sparse),
            baseline=lambda: sample(baseline),
            at_most_ratio=0.2,
            rounds=5,
        )


def _address(storage: azurite.Azurite, name: str, size: int) -> str:
    """Where a new disk for an image of this size is."""
    storage.disk(name, vhd.upload_bytes(size))
    return f"http://127.0.0.1:{storage.port}{storage.signature(name)}"


def _warm(address: str) -> None:
    """As many requests as the compiler of node needs; few of 4 MiB leave it in the midst of work."""
    page = random.Random(0).randbytes(_WARM_BYTES)
    blob = PageBlob(address)
    with ThreadPoolExecutor(MOST_WORKERS) as pool:
        list(pool.map(lambda at: blob.put(at * _WARM_BYTES, page), range(_WARM_PAGES)))
    blob.close()


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


def _by_library(image: Image, address: str, _place: Path) -> None:
    """What its documents show; it makes the blob anew, which the one of a managed disk refuses."""
    from azure.storage.blob import BlobClient, BlobType  # noqa: PLC0415 - an optional requirement

    with (
        BlobClient.from_blob_url(address, api_version=azurite.API_VERSION) as client,
        image.path.open("rb") as file,
    ):
        client.upload_blob(
            file,
            blob_type=BlobType.PageBlob,
            length=DISK_BYTES,
            overwrite=True,
            max_concurrency=MOST_WORKERS,
        )
