"""Statements beside a release: of the policy's signer, of one kind, about exactly these files."""

from __future__ import annotations

import json

import pytest
from pydantic import JsonValue

from blindllama.attestation import BUNDLE_LIMIT, verify_attestation
from blindllama.errors import Code, VerificationError
from blindllama.measurements import MEASUREMENTS_TYPE
from blindllama.policy import Policy
from blindllama.release import verify_release
from tests.simulators.signed_release import SignedRelease

DISKS = ("os-image/os.img", "app-disk/app.img")


def _bundle(release: SignedRelease) -> bytes:
    return json.dumps(json.loads(release.evidence)["measurements"]).encode()


def _disks(release: SignedRelease) -> dict[str, str]:
    verified = verify_release(release.evidence, release.policy, release.now)
    return {name: verified.artifacts[name] for name in DISKS}


def _refused(
    bundle: bytes, policy: Policy, subjects: dict[str, str], kind: str = MEASUREMENTS_TYPE
) -> Code:
    with pytest.raises(VerificationError) as caught:
        verify_attestation(bundle, policy, predicate_type=kind, subjects=subjects)
    assert caught.value.step == 2
    return caught.value.code


def test_the_predicate_of_a_genuine_statement(honest: SignedRelease) -> None:
    found: JsonValue = verify_attestation(
        _bundle(honest),
        honest.policy,
        predicate_type=MEASUREMENTS_TYPE,
        subjects=_disks(honest),
    )
    assert isinstance(found, dict)
    assert found["version"] == 1


def test_s2_a_statement_about_other_files(honest: SignedRelease) -> None:
    disks = _disks(honest)
    swapped = dict(zip(disks, reversed(disks.values()), strict=True))
    fewer = {name: digest for name, digest in disks.items() if name == DISKS[0]}
    for subjects in (swapped, fewer, {**disks, "another": "ab" * 32}, {}):
        assert _refused(_bundle(honest), honest.policy, subjects) is Code.STATEMENT_SUBJECT


def test_s2_a_statement_of_another_kind(honest: SignedRelease) -> None:
    kind = "https://cyclonedx.org/bom"
    code = _refused(_bundle(honest), honest.policy, _disks(honest), kind)
    assert code is Code.STATEMENT_PREDICATE_TYPE


def test_s1_a_statement_of_somebody_else(honest: SignedRelease) -> None:
    signer = honest.policy.signer.model_copy(update={"identity": "https://x.example/other"})
    policy = honest.policy.model_copy(update={"signer": signer})
    assert _refused(_bundle(honest), policy, _disks(honest)) is Code.BUNDLE_IDENTITY


@pytest.mark.parametrize(
    ("bundle", "code"),
    [
        (b"{", Code.FORMAT_NOT_JSON),
        (b"{}", Code.BUNDLE_MALFORMED),
        (b" " * (BUNDLE_LIMIT + 1), Code.FORMAT_TOO_LARGE),
    ],
)
def test_t4_bytes_that_are_no_bundle(honest: SignedRelease, bundle: bytes, code: Code) -> None:
    assert _refused(bundle, honest.policy, {}) is code
