"""Rebuilders: k of the policy's n must have made the same, each refusal with its code."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from blindllama._release.rebuild import REBUILD_TYPE as SDK_TYPE
from blindllama._release.rebuild import REBUILT
from blindllama.errors import Code, PolicyError, VerificationError
from blindllama.policy import GITHUB_ISSUER, Policy
from blindllama.release import verify_release
from blindllama.report import Report
from supply_chain.attest.rebuild import (
    LOCAL_REBUILDER,
    REBUILD_TYPE,
    RebuiltRelease,
    RebuiltStep,
    rebuild_statement,
)
from supply_chain.attest.signing import signer
from supply_chain.attest.statement import Statement
from supply_chain.digest import sha256_bytes
from tests.simulators.release_attacks import OTHER, other_digest, predicate, subjects, wrong
from tests.simulators.signed_release import NAME, PRODUCTS, SignedRelease

SECOND = "https://blindllama.dev/rebuilders/second"
Json = dict[str, Any]


class Desk:
    """Rebuilders of one honest release."""

    def __init__(self, honest: SignedRelease, state: Path) -> None:
        self.honest = honest
        self.state = state
        with signer(state, identity=LOCAL_REBUILDER) as found:
            self.issuer = found.authority.issuer

    def statement(
        self,
        steps: Sequence[str] = REBUILT,
        *,
        change: Callable[[Statement], Statement] = lambda honest: honest,
        who: str = LOCAL_REBUILDER,
        state: Path | None = None,
    ) -> Json:
        """A rebuilder's bundle about these steps, changed before it is signed."""
        made = rebuild_statement(
            [
                RebuiltStep(
                    name=step,
                    materials={},
                    products={k: v for k, v in PRODUCTS.items() if k.startswith(f"{step}/")},
                )
                for step in steps
            ],
            release=RebuiltRelease(
                name=NAME, sequence=1, layout=self.honest.chain.layout.payload_digest
            ),
            environment={"zone": "Pacific/Chatham"},
            started=self.honest.now,
            finished=self.honest.now,
        )
        with signer(state or self.state, identity=who) as found:
            bundle: Json = json.loads(found.sign_statement(change(made)))
        return bundle

    def identity(self, who: str = LOCAL_REBUILDER, **more: object) -> Json:
        return {"issuer": self.issuer, "identity": who, **more}

    def policy(self, threshold: int, *identities: Json) -> Policy:
        document = self.honest.policy.model_dump(exclude_none=True)
        document["rebuilders"] = {"threshold": threshold, "identities": identities}
        return Policy.from_mapping(document)

    def verify(self, policy: Policy, *rebuilds: object) -> Mapping[str, str]:
        """The details of step 3."""
        report = Report()
        evidence = json.loads(self.honest.evidence) | {"rebuilds": list(rebuilds)}
        verify_release(json.dumps(evidence).encode(), policy, self.honest.now, report=report)
        return report.checks[2].detail

    def refusal(self, policy: Policy, *rebuilds: object) -> VerificationError:
        with pytest.raises(VerificationError) as caught:
            self.verify(policy, *rebuilds)
        assert caught.value.step == 3
        return caught.value


@pytest.fixture(scope="module")
def desk(honest: SignedRelease, state: Path) -> Desk:
    return Desk(honest, state)


@pytest.fixture(scope="module")
def rebuilt(desk: Desk) -> Json:
    """The local rebuilder's honest statement."""
    return desk.statement()


def test_both_sides_name_one_predicate_type() -> None:
    assert SDK_TYPE == REBUILD_TYPE


def test_one_rebuilder_who_agrees(desk: Desk, rebuilt: Json) -> None:
    detail = desk.verify(desk.policy(1, desk.identity()), rebuilt)
    assert {detail[f"{step} rebuilt by"] for step in REBUILT} == {LOCAL_REBUILDER}


def test_two_of_three(desk: Desk, rebuilt: Json) -> None:
    known = [desk.identity(who) for who in (OTHER, SECOND, LOCAL_REBUILDER)]
    detail = desk.verify(desk.policy(2, *known), desk.statement(who=SECOND), rebuilt)
    assert detail["engine rebuilt by"] == f"{LOCAL_REBUILDER}, {SECOND}"


def test_a_rebuilder_in_parts(desk: Desk) -> None:
    parts = [desk.statement([step]) for step in REBUILT]
    desk.verify(desk.policy(1, desk.identity()), *parts)


def test_who_rebuilds_more_than_is_demanded(desk: Desk) -> None:
    more = desk.statement([*REBUILT, "measure"])
    detail = desk.verify(desk.policy(1, desk.identity()), more)
    assert {name for name in detail if name.endswith("rebuilt by")} == {
        f"{step} rebuilt by" for step in REBUILT
    }


def test_without_a_threshold_nobody_is_looked_at(desk: Desk) -> None:
    assert "engine rebuilt by" not in desk.verify(desk.honest.policy, {"not": "a bundle"})


class TestTooFew:
    def test_none(self, desk: Desk) -> None:
        assert desk.refusal(desk.policy(1, desk.identity())).code is Code.REBUILD_MISSING

    @pytest.mark.parametrize("left_out", REBUILT)
    def test_of_one_step(self, desk: Desk, left_out: str) -> None:
        some = desk.statement([step for step in REBUILT if step != left_out])
        error = desk.refusal(desk.policy(1, desk.identity()), some)
        assert error.code is Code.REBUILD_MISSING
        assert left_out in str(error)

    def test_one_of_two(self, desk: Desk, rebuilt: Json) -> None:
        policy = desk.policy(2, desk.identity(), desk.identity(SECOND))
        assert desk.refusal(policy, rebuilt).code is Code.REBUILD_MISSING

    def test_one_identity_twice_is_one_rebuilder(self, desk: Desk, rebuilt: Json) -> None:
        policy = desk.policy(2, desk.identity(), desk.identity(SECOND))
        error = desk.refusal(policy, rebuilt, desk.statement())
        assert error.code is Code.REBUILD_DUPLICATE

    def test_somebody_whom_the_policy_does_not_name(self, desk: Desk, rebuilt: Json) -> None:
        error = desk.refusal(desk.policy(1, desk.identity(SECOND)), rebuilt)
        assert error.code is Code.REBUILD_UNKNOWN
        assert "bundle.identity" in str(error)

    def test_the_builder_itself_is_somebody_else(self, desk: Desk) -> None:
        own = desk.statement(who=desk.honest.policy.signer.identity)
        assert desk.refusal(desk.policy(1, desk.identity()), own).code is Code.REBUILD_UNKNOWN


class TestDisagreement:
    def test_other_bytes(self, desk: Desk) -> None:
        evil = desk.statement(change=other_digest("os-image/os.img"))
        error = desk.refusal(desk.policy(1, desk.identity()), evil)
        assert error.code is Code.REBUILD_DISAGREEMENT
        assert "os-image/os.img" in str(error)

    def test_one_who_disagrees_is_not_outvoted(self, desk: Desk, rebuilt: Json) -> None:
        policy = desk.policy(1, desk.identity(), desk.identity(SECOND))
        evil = desk.statement(who=SECOND, change=other_digest("app-disk/app.img"))
        assert desk.refusal(policy, rebuilt, evil).code is Code.REBUILD_DISAGREEMENT

    @pytest.mark.parametrize(
        "change",
        [
            subjects(lambda made: made[1:]),
            subjects(lambda made: [*made, made[0].model_copy(update={"name": "engine/more"})]),
            predicate(wrong("steps", ["engine", "app-disk"])),
            predicate(wrong("steps", ["engine", "app-disk", "os-image", "measure"])),
            predicate(wrong("steps", ["engine", "app-disk", "deploy"])),
        ],
        ids=["a file less", "a file more", "a step less", "a step more", "a step unknown"],
    )
    def test_other_files(self, desk: Desk, change: Callable[[Statement], Statement]) -> None:
        error = desk.refusal(desk.policy(1, desk.identity()), desk.statement(change=change))
        assert error.code is Code.REBUILD_DISAGREEMENT


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("release.name", "another"),
        ("release.sequence", 2),
        ("layout.sha256", sha256_bytes(b"another layout").hex),
    ],
)
def test_a_statement_about_another_release(desk: Desk, place: str, value: object) -> None:
    other = desk.statement(change=predicate(wrong(place, value)))
    assert desk.refusal(desk.policy(1, desk.identity()), other).code is Code.REBUILD_RELEASE


@pytest.mark.parametrize(
    ("place", "value", "code"),
    [
        ("version", 2, Code.FORMAT_SCHEMA),
        ("unknown", "field", Code.FORMAT_SCHEMA),
        ("steps", [], Code.FORMAT_SCHEMA),
        ("environment", {"zone": 1}, Code.FORMAT_SCHEMA),
        ("startedOn", "today", Code.FORMAT_SCHEMA),
    ],
)
def test_a_malformed_statement(desk: Desk, place: str, value: object, code: Code) -> None:
    bad = desk.statement(change=predicate(wrong(place, value)))
    assert desk.refusal(desk.policy(1, desk.identity()), bad).code is code


def test_a_statement_of_another_kind(desk: Desk) -> None:
    kind = {"predicate_type": "https://example.org/attestation/v1"}
    other = desk.statement(change=lambda honest: honest.model_copy(update=kind))
    policy = desk.policy(1, desk.identity())
    assert desk.refusal(policy, other).code is Code.STATEMENT_PREDICATE_TYPE


def test_a_known_rebuilder_whose_statement_was_changed(desk: Desk, rebuilt: Json) -> None:
    evil = json.loads(json.dumps(rebuilt))
    payload = base64.b64decode(evil["dsseEnvelope"]["payload"])
    changed = payload.replace(b"Chatham", b"Chatman")
    assert changed != payload
    evil["dsseEnvelope"]["payload"] = base64.b64encode(changed).decode()
    assert desk.refusal(desk.policy(1, desk.identity()), evil).code is Code.BUNDLE_SIGNATURE


def test_no_byte_of_a_statement_can_be_changed(desk: Desk, rebuilt: Json) -> None:
    """Sampled: whatever is flipped, the release is refused, in step 3 or as no JSON in step 2."""
    policy = desk.policy(1, desk.identity())
    statement = json.dumps(rebuilt).encode()
    whole = json.loads(desk.honest.evidence) | {"rebuilds": [rebuilt]}
    evidence = json.dumps(whole).encode()
    begin = evidence.index(statement)
    chance = random.Random(20261125)
    for at in sorted(chance.sample(range(len(statement)), 150)):
        changed = bytearray(evidence)
        changed[begin + at] ^= 1 << chance.randrange(7)
        with pytest.raises(VerificationError):
            verify_release(bytes(changed), policy, desk.honest.now)


def test_what_is_no_bundle(desk: Desk) -> None:
    policy = desk.policy(1, desk.identity())
    assert desk.refusal(policy, {"a": 1}).code is Code.BUNDLE_MALFORMED


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elsewhere")


@pytest.fixture(scope="module")
def root(elsewhere: Path) -> str:
    with signer(elsewhere, identity=LOCAL_REBUILDER) as found:
        return found.authority.trusted_root_json


@pytest.fixture(scope="module")
def theirs(desk: Desk, elsewhere: Path) -> Json:
    return desk.statement(state=elsewhere)


class TestAnotherMachine:
    """Another local Sigstore: the same issuer and identity under another trust root."""

    def test_is_nobody_to_the_policys_own_root(self, desk: Desk, theirs: Json) -> None:
        error = desk.refusal(desk.policy(1, desk.identity()), theirs)
        assert error.code is Code.REBUILD_UNKNOWN
        assert "bundle.certificate" in str(error)

    def test_counts_with_a_trust_root_of_its_own(self, desk: Desk, theirs: Json, root: str) -> None:
        desk.verify(desk.policy(1, desk.identity(trusted_root=root)), theirs)

    def test_is_another_than_the_one_here(
        self, desk: Desk, rebuilt: Json, theirs: Json, root: str
    ) -> None:
        both = (desk.identity(), desk.identity(trusted_root=root))
        for statements in ((rebuilt, theirs), (theirs, rebuilt)):
            desk.verify(desk.policy(2, *both), *statements)
        again = desk.refusal(desk.policy(2, *both), theirs, theirs)
        assert again.code is Code.REBUILD_DUPLICATE

    def test_listing_one_twice_does_not_count_it_twice(self, desk: Desk, rebuilt: Json) -> None:
        same = desk.identity(trusted_root=desk.honest.policy.sigstore.trusted_root + "\n")
        policy = desk.policy(2, desk.identity(), same)
        assert desk.refusal(policy, rebuilt, rebuilt).code is Code.REBUILD_DUPLICATE

    def test_the_policy_survives_its_toml(self, desk: Desk, root: str) -> None:
        policy = desk.policy(1, desk.identity(), desk.identity(trusted_root=root))
        assert Policy.from_bytes(policy.to_toml().encode()) == policy


class TestPolicy:
    def refusal(self, desk: Desk, *identities: Json) -> Code:
        with pytest.raises(PolicyError) as caught:
            desk.policy(1, *identities)
        return caught.value.code

    def test_the_signer_does_not_confirm_itself(self, desk: Desk) -> None:
        own = desk.identity(desk.honest.policy.signer.identity)
        assert self.refusal(desk, own) is Code.POLICY_INVALID

    def test_a_trust_root_that_is_none(self, desk: Desk) -> None:
        assert self.refusal(desk, desk.identity(trusted_root="{}")) is Code.POLICY_TRUST_ROOT

    def test_a_name_on_github_that_is_no_workflow(self, desk: Desk) -> None:
        source = {
            "repository": "https://github.com/o/n",
            "workflow": ".github/workflows/rebuild.yml",
            "ref": "refs/tags/v1",
        }
        named = {"issuer": GITHUB_ISSUER, "identity": "o/n", "github": source}
        assert self.refusal(desk, named) is Code.POLICY_INVALID
        workflow = "https://github.com/o/n/.github/workflows/rebuild.yml@refs/tags/v1"
        assert desk.policy(1, named | {"identity": workflow}).rebuilders.threshold == 1

    def test_github_without_its_source(self, desk: Desk) -> None:
        assert self.refusal(desk, {"issuer": GITHUB_ISSUER, "identity": "x"}) is Code.POLICY_INVALID
