"""One signer for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from supply_chain.attest.functionary import Functionary
from supply_chain.attest.signing import Signer, signer


@pytest.fixture(scope="session")
def attest_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("attest-state")


@pytest.fixture(scope="session")
def signing(attest_state: Path) -> Iterator[Signer]:
    with signer(attest_state) as found:
        yield found


@pytest.fixture(scope="session")
def functionary(signing: Signer) -> Functionary:
    assert signing.authority.identity is not None
    return Functionary(identity=signing.authority.identity, issuer=signing.authority.issuer)
