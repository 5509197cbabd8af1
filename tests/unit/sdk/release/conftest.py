"""Releases signed by the real local Sigstore, and real bundles that nobody here made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.simulators.signed_release import SignedRelease, make_signed_release


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state folder of one local Sigstore, for all the tests."""
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="session")
def honest(state: Path) -> SignedRelease:
    """A release with nothing wrong."""
    return make_signed_release(state)


@pytest.fixture(scope="session")
def public_data(checkout: Path) -> Path:
    """Sigstore bundles from public repositories."""
    folder = checkout.parent / "shared" / "data" / "sigstore"
    if not folder.is_dir():
        pytest.skip("the public Sigstore bundles are not beside this checkout")
    return folder
