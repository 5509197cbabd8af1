"""Two releases of one signer, and a repository of the first."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import SignedRelease, make_signed_release

Releases = tuple[SignedRelease, SignedRelease]


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> Releases:
    """Releases 1 and 2."""
    state = tmp_path_factory.mktemp("state")
    return make_signed_release(state, sequence=1), make_signed_release(state, sequence=2)


@pytest.fixture
def publisher(tmp_path: Path, releases: Releases) -> Publisher:
    """A repository whose newest release is the first."""
    return publisher_of(tmp_path, releases[0])


def content(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path in it."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
