"""One instance for all tests of this folder, and what asks it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sigstore.dsse import Statement
from sigstore.models import Bundle
from sigstore.sign import SigningContext
from sigstore.verify import Verifier

from supply_chain.local_sigstore import LocalSigstore, running
from tests.simulators.sigstore_client import IDENTITY, STATEMENT, Client, verifier_of


@pytest.fixture(scope="session")
def sigstore_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sigstore-state")


@pytest.fixture(scope="session")
def instance(sigstore_state: Path) -> Iterator[LocalSigstore]:
    with running(sigstore_state) as found:
        yield found


@pytest.fixture(scope="session")
def client(instance: LocalSigstore) -> Client:
    return Client(instance.url)


@pytest.fixture(scope="session")
def context(instance: LocalSigstore) -> SigningContext:
    return SigningContext.from_trust_config(instance.trust_config)


@pytest.fixture(scope="session")
def dsse_bundle(instance: LocalSigstore, context: SigningContext) -> Bundle:
    with context.signer(instance.identity_token(IDENTITY)) as signer:
        return signer.sign_dsse(Statement(STATEMENT))


@pytest.fixture(scope="session")
def verifier(instance: LocalSigstore) -> Verifier:
    return verifier_of(instance.trusted_root_json)
