"""Two releases of one signer."""

from __future__ import annotations

import pytest

from tests.simulators.signed_release import SignedRelease, make_signed_release


@pytest.fixture(scope="session")
def releases(tmp_path_factory: pytest.TempPathFactory) -> tuple[SignedRelease, SignedRelease]:
    """Releases 1 and 2."""
    state = tmp_path_factory.mktemp("state")
    return make_signed_release(state, sequence=1), make_signed_release(state, sequence=2)
