"""Bundles of a log that promises nothing: good where the stamp is enough, and nowhere else."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sigstore.dsse import Statement
from sigstore.sign import SigningContext

from blindllama._release.bundle import BundleVerifier, Signer, VerifiedEnvelope
from blindllama._release.trust import trust_root
from blindllama.errors import Code, ProvenanceError
from blindllama.policy import SigstorePolicy
from supply_chain.local_sigstore import LocalSigstore, running
from supply_chain.local_sigstore.oidc import ISSUER
from tests.simulators.sigstore_client import IDENTITY, STATEMENT


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSigstore]:
    with running(tmp_path_factory.mktemp("log-version"), log_version=2) as found:
        yield found


@pytest.fixture(scope="module")
def bundle(instance: LocalSigstore) -> dict[str, Any]:
    context = SigningContext.from_trust_config(instance.trust_config)
    with context.signer(instance.identity_token(IDENTITY)) as signer:
        document: dict[str, Any] = json.loads(signer.sign_dsse(Statement(STATEMENT)).to_json())
    return document


def verify(instance: LocalSigstore, bundle: dict[str, Any], **require: bool) -> VerifiedEnvelope:
    root = instance.trusted_root_json
    verifier = BundleVerifier(
        trust=trust_root(root), require=SigstorePolicy(trusted_root=root, **require)
    )
    return verifier.verify_dsse(bundle, Signer(issuer=ISSUER, identity=IDENTITY))


@pytest.mark.parametrize("stamp", [True, False])
def test_the_stamp_tells_the_time(
    instance: LocalSigstore, bundle: dict[str, Any], stamp: bool
) -> None:
    envelope = verify(instance, bundle, require_inclusion_promise=False, require_timestamp=stamp)
    assert envelope.payload == STATEMENT


def test_a_policy_that_wants_the_promise_refuses(
    instance: LocalSigstore, bundle: dict[str, Any]
) -> None:
    with pytest.raises(ProvenanceError) as raised:
        verify(instance, bundle)
    assert raised.value.code is Code.BUNDLE_NO_INCLUSION_PROMISE


def test_without_the_stamp_there_is_no_time(
    instance: LocalSigstore, bundle: dict[str, Any]
) -> None:
    material = dict(bundle["verificationMaterial"])
    del material["timestampVerificationData"]
    bare = bundle | {"verificationMaterial": material}
    with pytest.raises(ProvenanceError) as raised:
        verify(instance, bare, require_inclusion_promise=False)
    # The library itself refuses a bundle of this kind that tells no time at all.
    assert raised.value.code is Code.BUNDLE_MALFORMED


@pytest.mark.parametrize("change", [{"logIndex": "7"}, {"integratedTime": "1780000000"}])
def test_what_the_log_did_not_promise_cannot_be_said(
    instance: LocalSigstore, bundle: dict[str, Any], change: dict[str, str]
) -> None:
    lying = copy.deepcopy(bundle)
    lying["verificationMaterial"]["tlogEntries"][0].update(change)
    with pytest.raises(ProvenanceError) as raised:
        verify(instance, lying, require_inclusion_promise=False)
    assert raised.value.code is Code.BUNDLE_SIGNATURE
