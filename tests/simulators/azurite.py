"""Azurite, Azure's own storage emulator, for tests; run as a program, it fetches it.

Usage: python -m tests.simulators.azurite

It comes from npm by the lock beside it into the cache, once, and runs none of its install scripts.
Its page blobs are real ones; it is laxer than Azure in what it accepts (tests/simulators/page_blob).
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supply_chain import process
from supply_chain.errors import BuildError
from supply_chain.workspace import Workspace
from tests.simulators import node

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
LOCKED = Path(__file__).with_name("npm")
ACCOUNT = "devstoreaccount1"
KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
"""The account that every Azurite has, and its key, which is printed in its documentation."""
CONTAINER = "disks"
API_VERSION = "2021-12-02"
_PATIENCE_S = 60.0
_READY = re.compile(rb"listens on http://127\.0\.0\.1:(\d+)")


def program(cache: Path) -> Path:
    """Where Azurite's blob service is, or would be."""
    return node.modules(LOCKED, cache) / "azurite" / "dist" / "src/blob/main.js"


@dataclass(frozen=True, slots=True, kw_only=True)
class Azurite:
    """A running Azurite."""

    port: int

    def disk(self, name: str, size: int) -> None:
        """Make an empty page blob, as Azure does when a disk is made for uploading."""
        self.blob(name).create_page_blob(size)

    def blob(self, name: str) -> Any:  # noqa: ANN401 - the library is optional, and so are its types
        """A client with the account's key, which may do everything."""
        from azure.storage.blob import BlobClient  # noqa: PLC0415 - an optional requirement

        address = f"http://127.0.0.1:{self.port}/{ACCOUNT}"
        return BlobClient(address, CONTAINER, name, credential=KEY, api_version=API_VERSION)

    def signature(self, name: str, *, lasts: timedelta = timedelta(hours=1)) -> str:
        """The path and the query of a blob with a signature for reading and writing."""
        from azure.storage.blob import generate_blob_sas  # noqa: PLC0415 - an optional requirement

        query = generate_blob_sas(
            ACCOUNT,
            CONTAINER,
            name,
            account_key=KEY,
            permission="rw",
            expiry=datetime.now(UTC) + lasts,
        )
        return f"/{ACCOUNT}/{CONTAINER}/{name}?{query}"


@contextlib.contextmanager
def running(home: Path, cache: Path, *, in_memory: bool = False) -> Iterator[Azurite]:
    """Azurite with an empty container, at a free port of loopback.

    Args:
        home: A folder for its log and its blobs.
        cache: Where it was fetched to.
        in_memory: Whether blobs are kept in memory, and it waits for no disk after each request.
    """
    log = home / "azurite.log"
    argv = ["node", str(program(cache)), "--blobHost", "127.0.0.1", "--blobPort", "0"]
    argv += ["--inMemoryPersistence"] if in_memory else ["--location", str(home / "blobs")]
    argv += ["--silent", "--disableTelemetry"]
    child = process.spawn(argv, stdout=log, env={"HOME": str(home)})
    try:
        azurite = Azurite(port=_port(log))
        from azure.storage.blob import ContainerClient  # noqa: PLC0415 - an optional requirement

        address = f"http://127.0.0.1:{azurite.port}/{ACCOUNT}"
        with ContainerClient(address, CONTAINER, credential=KEY, api_version=API_VERSION) as client:
            client.create_container()
        yield azurite
    finally:
        child.terminate()
        child.wait(_PATIENCE_S)


def _port(log: Path) -> int:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        ready = _READY.search(log.read_bytes())
        if ready:
            return int(ready[1])
        time.sleep(0.05)
    raise BuildError(f"Azurite did not start: {log.read_text('utf-8')}")


def main() -> None:
    """Fetch it if it can be had."""
    try:
        node.fetch(LOCKED, Workspace.at(ROOT, os.environ).cache, os.environ)
    except BuildError as exc:
        sys.stderr.write(f"Azurite cannot be had, its tests will be skipped: {exc}\n")


if __name__ == "__main__":
    main()
