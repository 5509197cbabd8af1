"""Azurite behind a strict door, and images with holes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.azure.upload import Image
from supply_chain.digest import sha256_file
from supply_chain.workspace import Workspace
from tests.simulators import azurite, page_blob

MIB = 1 << 20


@pytest.fixture(scope="session")
def azure_storage(
    checkout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[azurite.Azurite]:
    """A running Azurite; skips where it was not fetched."""
    cache = Workspace.at(checkout, os.environ).cache
    if not azurite.program(cache).exists():
        pytest.skip("needs Azurite: run ./do nox -s azure, where node and npm are installed")
    with azurite.running(tmp_path_factory.mktemp("azurite"), cache) as running:
        yield running


@pytest.fixture
def door(azure_storage: azurite.Azurite) -> Iterator[page_blob.Door]:
    """The only way by which an upload reaches Azurite; what Azure refuses fails the test."""
    with page_blob.door(azure_storage.port) as opened:
        yield opened
    assert opened.refused == []


@pytest.fixture
def image(tmp_path: Path) -> Image:
    """24 MiB, of which 9 MiB and 8 KiB are data, in several pieces."""
    path = tmp_path / "image"
    with path.open("wb") as file:
        file.truncate(24 * MIB)
        for offset, length in ((0, 8192), (3 * MIB, 5 * MIB), (19 * MIB, 4 * MIB)):
            file.seek(offset)
            file.write(bytes((offset // MIB + i) % 251 + 1 for i in range(4096)) * (length // 4096))
    return Image(path=path, sha256=sha256_file(path))
