"""SLSA's steps to verify a summary, each refused with its code: one change to an honest one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import blindllama
from blindllama.errors import Code, UsageError, VerificationError
from blindllama.policy import SigstorePolicy, VerifierPolicy
from blindllama.release import verify_release
from blindllama.summary import SUMMARY_TYPE, VerifiedSummary, verify_summary
from supply_chain.attest.signing import signer
from supply_chain.attest.statement import Statement
from supply_chain.attest.summary import LEVEL, LOCAL_VERIFIER, resource_uri, summary_statement
from supply_chain.attest.trust import LOCAL_IDENTITY
from supply_chain.digest import sha256_bytes
from tests.simulators.release_attacks import EVIL, predicate, wrong
from tests.simulators.signed_release import NAME, SignedRelease

POLICY = sha256_bytes(b"policy")
DOCUMENTS = {"root.layout": sha256_bytes(b"layout"), "bundles/x.json": sha256_bytes(b"bundle")}


@dataclass(frozen=True, kw_only=True)
class Desk:
    """A release that has passed, and who says so."""

    release: SignedRelease
    state: Path
    artifacts: dict[str, str]

    @property
    def verifier(self) -> VerifierPolicy:
        assert self.release.policy.verifier is not None
        return self.release.policy.verifier

    @property
    def resource(self) -> str:
        return resource_uri(NAME, self.release.index.sequence)

    def statement(self, now: datetime | None = None) -> Statement:
        verified = verify_release(self.release.evidence, self.release.policy, self.release.now)
        return summary_statement(
            verified,
            verifier=LOCAL_VERIFIER,
            policy=POLICY,
            documents=DOCUMENTS,
            now=now or self.release.now,
        )

    def sign(self, statement: Statement, identity: str = LOCAL_VERIFIER) -> bytes:
        with signer(self.state, identity=identity) as found:
            return found.sign_statement(statement)

    def verify(self, bundle: bytes, **changes: Any) -> VerifiedSummary:  # noqa: ANN401 - arguments of any type
        demands: dict[str, Any] = {
            "verifier": self.verifier,
            "sigstore": self.release.policy.sigstore,
            "resource": self.resource,
            "artifacts": self.artifacts,
            "now": self.release.now + timedelta(hours=1),
        }
        return verify_summary(bundle, **(demands | changes))

    def refusal(self, bundle: bytes, **changes: Any) -> Code:  # noqa: ANN401 - likewise
        with pytest.raises(VerificationError) as caught:
            self.verify(bundle, **changes)
        assert caught.value.step == 2
        return caught.value.code


@pytest.fixture(scope="module")
def desk(honest: SignedRelease, state: Path) -> Desk:
    verified = verify_release(honest.evidence, honest.policy, honest.now)
    return Desk(release=honest, state=state, artifacts=dict(verified.artifacts))


@pytest.fixture(scope="module")
def bundle(desk: Desk) -> bytes:
    return desk.sign(desk.statement())


def test_an_honest_summary(desk: Desk, bundle: bytes) -> None:
    summary = desk.verify(bundle, policy_sha256=POLICY.hex)
    assert summary.verifier == LOCAL_VERIFIER
    assert summary.levels == ("SLSA_BUILD_LEVEL_1",)
    assert summary.artifacts == desk.artifacts
    assert summary.verified_at == desk.release.now
    assert summary.inputs == {
        f"{desk.resource}/{path}": digest.hex for path, digest in DOCUMENTS.items()
    }


def test_it_is_in_the_form_of_the_specification(desk: Desk) -> None:
    statement = desk.statement()
    assert statement.predicate_type == SUMMARY_TYPE
    assert statement.predicate.keys() == {
        "verifier",
        "timeVerified",
        "resourceUri",
        "policy",
        "inputAttestations",
        "verificationResult",
        "verifiedLevels",
        "slsaVersion",
    }
    assert statement.predicate["verifiedLevels"] == [LEVEL]
    assert statement.predicate["verificationResult"] == "PASSED"


def test_it_is_public() -> None:
    assert blindllama.verify_summary is verify_summary
    assert blindllama.VerifiedSummary is VerifiedSummary


CHANGED: dict[str, tuple[Code, Callable[..., Statement]]] = {
    "3 another predicate type": (
        Code.STATEMENT_PREDICATE_TYPE,
        lambda statement: statement.model_copy(
            update={"predicate_type": "https://slsa.dev/provenance/v1"}
        ),
    ),
    "4 another verifier's name": (
        Code.SUMMARY_VERIFIER,
        predicate(wrong("verifier.id", "https://blindllama.dev/verifiers/hosted/v1")),
    ),
    "5 another resource": (
        Code.SUMMARY_RESOURCE,
        predicate(wrong("resourceUri", resource_uri(NAME, 2))),
    ),
    "6 a failure": (Code.SUMMARY_RESULT, predicate(wrong("verificationResult", "FAILED"))),
    "7 no level": (
        Code.SUMMARY_LEVEL,
        predicate(wrong("verifiedLevels", ["SLSA_BUILD_LEVEL_0"])),
    ),
    "7 a level of another track": (
        Code.SUMMARY_LEVEL,
        predicate(wrong("verifiedLevels", ["SLSA_SOURCE_LEVEL_3"])),
    ),
    "7 two levels of one track": (
        Code.SUMMARY_LEVEL,
        predicate(wrong("verifiedLevels", ["SLSA_BUILD_LEVEL_1", "SLSA_BUILD_LEVEL_3"])),
    ),
    "another version of the specification": (
        Code.FORMAT_SCHEMA,
        predicate(wrong("slsaVersion", "2.0")),
    ),
    "an unknown field": (Code.FORMAT_SCHEMA, predicate(wrong("comment", "trust me"))),
    "no documents": (Code.FORMAT_SCHEMA, predicate(wrong("inputAttestations", []))),
    "a time of another form": (Code.FORMAT_SCHEMA, predicate(wrong("timeVerified", "now"))),
}


@pytest.mark.parametrize("attack", CHANGED)
def test_each_step_refuses(desk: Desk, attack: str) -> None:
    code, change = CHANGED[attack]
    assert desk.refusal(desk.sign(change(desk.statement()))) is code


def test_1_another_trust_root(desk: Desk, bundle: bytes, tmp_path: Path) -> None:
    with signer(tmp_path) as stranger:
        root = stranger.authority.trusted_root_json
    sigstore = SigstorePolicy(trusted_root=root)
    assert desk.refusal(bundle, sigstore=sigstore) is Code.BUNDLE_CERTIFICATE


def test_1_a_changed_signature(desk: Desk, bundle: bytes) -> None:
    document = json.loads(bundle)
    envelope = document["dsseEnvelope"]
    envelope["signatures"] = json.loads(desk.sign(desk.statement()))["dsseEnvelope"]["signatures"]
    assert desk.refusal(json.dumps(document).encode()) is Code.BUNDLE_SIGNATURE


@pytest.mark.parametrize("name", ["os-image/os.img", "measure/measurements.json"])
def test_2_another_artifact(desk: Desk, bundle: bytes, name: str) -> None:
    artifacts = desk.artifacts | {name: EVIL.hex}
    assert desk.refusal(bundle, artifacts=artifacts) is Code.SUMMARY_SUBJECT
    assert desk.refusal(bundle, artifacts={"a file": EVIL.hex}) is Code.SUMMARY_SUBJECT
    assert desk.verify(bundle, artifacts={name: desk.artifacts[name]}).artifacts == desk.artifacts


def test_4_the_builder_is_not_its_own_verifier(desk: Desk) -> None:
    by_builder = desk.sign(desk.statement(), identity=LOCAL_IDENTITY)
    assert desk.refusal(by_builder) is Code.BUNDLE_IDENTITY


def test_7_a_higher_level_is_demanded(desk: Desk, bundle: bytes) -> None:
    assert desk.refusal(bundle, level=2) is Code.SUMMARY_LEVEL
    higher = predicate(wrong("verifiedLevels", ["SLSA_BUILD_LEVEL_3", "SLSA_SOURCE_LEVEL_1"]))
    assert desk.verify(desk.sign(higher(desk.statement())), level=2).levels[0].endswith("3")


def test_another_policy(desk: Desk, bundle: bytes) -> None:
    assert desk.refusal(bundle, policy_sha256=EVIL.hex) is Code.SUMMARY_POLICY


def test_a_verdict_grows_old(desk: Desk, bundle: bytes) -> None:
    late = desk.release.now + timedelta(days=7, seconds=1)
    desk.verify(bundle, now=late)
    assert desk.refusal(bundle, now=late, maximum_age=timedelta(days=7)) is Code.SUMMARY_TOO_OLD


def test_a_verdict_of_the_future(desk: Desk, bundle: bytes) -> None:
    """Before the caller's time, and before the time that stamp and log have established."""
    early = desk.release.now - timedelta(minutes=6)
    assert desk.refusal(bundle, now=early) is Code.SUMMARY_NOT_YET
    ahead = desk.sign(desk.statement(desk.release.now + timedelta(days=1)))
    later = desk.release.now + timedelta(days=2)
    assert desk.refusal(ahead, now=later) is Code.SUMMARY_NOT_YET


def test_nothing_is_asked_about_nothing(desk: Desk, bundle: bytes) -> None:
    with pytest.raises(UsageError):
        desk.verify(bundle, artifacts={})
    with pytest.raises(UsageError):
        desk.verify(bundle, now=desk.release.now.replace(tzinfo=None))


def test_what_is_no_bundle(desk: Desk) -> None:
    assert desk.refusal(b"[]") is Code.BUNDLE_MALFORMED
    assert desk.refusal(b"{") is Code.FORMAT_NOT_JSON
