"""Two releases of one signer, and a repository with the first of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blindllama.errors import Code, VerificationError
from blindllama.repository import Fetched
from tests.simulators.hostile_repository import RepositoryServer, repository_server
from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import SignedRelease, make_signed_release


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedRelease, SignedRelease]:
    """Releases 1 and 2."""
    state = tmp_path_factory.mktemp("state")
    return make_signed_release(state, sequence=1), make_signed_release(state, sequence=2)


@pytest.fixture
def publisher(tmp_path: Path, releases: tuple[SignedRelease, SignedRelease]) -> Publisher:
    """Somebody who has published release 1."""
    return publisher_of(tmp_path, releases[0])


@pytest.fixture
def server(publisher: Publisher) -> Iterator[RepositoryServer]:
    """The publisher's repository on loopback."""
    with repository_server(publisher.folder) as running:
        yield running


def refused(fetch: Callable[[], Fetched], code: Code) -> VerificationError:
    """Check that a fetch is refused at step 4 with the code."""
    with pytest.raises(VerificationError) as caught:
        fetch()
    assert (caught.value.code, caught.value.step) == (code, 4), str(caught.value)
    return caught.value
