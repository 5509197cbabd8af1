"""The supply-chain rows of the project's attack list, S1 to S7: each clause once, each with its code.

| row | attack |
|---|---|
| S1 | a validly signed bundle whose predicate lies about builder or source |
| S2 | right signature, wrong subject; wrong type; unknown fields or parameters; another trust root |
| S3 | provenance of a branch or of a pull request, accepted by a loose pattern of refs |
| S4 | rollback to an older release; freeze; a revoked release |
| S5 | layout and links: owner, expiry, missing, other identity, too few, disagreement, no rule |
| S6 | a trust root from a user's cache directory |
| S7 | an input that its lock does not describe: other bytes, from a mirror, or cut short |

Every signature is genuine, every refusal is asserted by its code. The variants of a clause are in
the modules beside this one, under the row's name; S4 with a repository in `tests/unit/sdk/repository`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from sigstore.dsse import Statement as SigstoreStatement
from sigstore.models import ClientTrustConfig
from sigstore.sign import SigningContext

from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.statement import verify_statement
from blindllama._release.trust import trust_root
from blindllama.errors import Code, PolicyError, VerificationError
from blindllama.policy import GITHUB_ISSUER, GithubSource, Policy, SigstorePolicy
from blindllama.release import verify_release
from supply_chain.attest.layout import LayoutStep
from supply_chain.attest.owner import owner_key
from supply_chain.attest.provenance import PROVENANCE_TYPE
from supply_chain.attest.statement import Statement, resources
from supply_chain.digest import sha256_bytes
from supply_chain.errors import BuildError
from supply_chain.inputs.download import download
from supply_chain.inputs.store import Store
from supply_chain.local_sigstore import LocalSigstore, running
from tests.simulators.file_server import file_server
from tests.simulators.github_runner import RUN
from tests.simulators.release_attacks import (
    EVIL,
    OTHER,
    Json,
    other_digest,
    predicate,
    refusal,
    wrong,
)
from tests.simulators.signed_release import Hooks, LinkContent, SignedRelease, make_signed_release


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What an attack may use."""

    honest: SignedRelease
    state: Path
    scratch: Path
    monkeypatch: pytest.MonkeyPatch

    def signed(self, *, rebuilders: Sequence[str] = (), **hooks: Any) -> Code:  # noqa: ANN401 - hooks of any type
        """A release with one lie in it, signed for real."""
        release = make_signed_release(self.state, rebuilders=rebuilders, hooks=Hooks(**hooks))
        return refusal(release).code

    def changed(self, change: Callable[[Json], object]) -> Code:
        """The honest evidence, changed after it was signed."""
        document = json.loads(self.honest.evidence)
        change(document)
        return refusal(replace(self.honest, evidence=json.dumps(document).encode())).code

    def under(self, place: str, value: object) -> Code:
        """The honest evidence under another policy."""
        parts = self.honest.policy.model_dump(exclude_none=True)
        wrong(place, value)(parts)
        return refusal(self.honest, Policy(**parts)).code


@pytest.fixture
def desk(
    honest: SignedRelease, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Desk:
    return Desk(honest=honest, state=state, scratch=tmp_path, monkeypatch=monkeypatch)


@pytest.fixture(scope="module")
def github(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalSigstore]:
    """An instance that certifies workflows as the public one does."""
    with running(tmp_path_factory.mktemp("github")) as instance:
        yield instance


def claimed_source(document: Json) -> None:
    document["buildDefinition"]["resolvedDependencies"].append(
        {"name": "source", "uri": "git+https://x@y", "digest": {"gitCommit": "a" * 40}}
    )


def other_type(statement: Statement) -> Statement:
    return statement.model_copy(update={"predicate_type": "https://slsa.dev/provenance/v0.2"})


def another_root(desk: Desk) -> Code:
    stranger = make_signed_release(desk.scratch)
    return desk.under("sigstore.trusted_root", stranger.policy.sigstore.trusted_root)


def older(desk: Desk) -> Code:
    return refusal(desk.honest, known_sequence=2).code


def frozen(desk: Desk) -> Code:
    release = make_signed_release(desk.state, lifetime=timedelta(days=3000))
    return refusal(release, now=release.now + timedelta(days=31)).code


def expired(desk: Desk) -> Code:
    return refusal(desk.honest, now=desk.honest.now + timedelta(days=30)).code


def revoked(desk: Desk) -> Code:
    return desk.under("release.revoked", [1])


def unknown_owner(desk: Desk) -> Code:
    return desk.signed(layout_owner=lambda _: owner_key(desk.scratch))


def expired_layout(desk: Desk) -> Code:
    release = make_signed_release(desk.state, layout_lifetime=timedelta(days=1))
    return refusal(release, now=release.now + timedelta(days=1)).code


def two_of_two(steps: Sequence[LayoutStep]) -> list[LayoutStep]:
    return [replace(step, threshold=2) if step.name == "engine" else step for step in steps]


def too_few(desk: Desk) -> Code:
    return desk.signed(steps=two_of_two, rebuilders=(OTHER,))


def disagreeing(desk: Desk) -> Code:
    def other(content: LinkContent) -> LinkContent | None:
        made = {**content.products, MODEL: EVIL}
        return replace(content, products=made) if content.step == "engine" else None

    return desk.signed(steps=two_of_two, rebuilders=(OTHER,), rebuilt=other)


MODEL = "engine/model.gguf"


def uncovered(content: LinkContent) -> LinkContent:
    more = {**content.products, "engine/extra": EVIL}
    return replace(content, products=more) if content.step == "engine" else content


def from_the_cache(desk: Desk) -> Code:
    """The stranger's root is where `Verifier.production(offline=True)` would find it."""
    stranger = make_signed_release(desk.scratch / "stranger")
    root = stranger.policy.sigstore.trusted_root
    for name in ("sigstore-python", "sigstore"):
        place = desk.scratch / name / "tuf" / "https%3A%2F%2Ftuf-repo-cdn.sigstore.dev"
        place.mkdir(parents=True)
        (place / "trusted_root.json").write_text(root)
    for variable in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME"):
        desk.monkeypatch.setenv(variable, str(desk.scratch))
    return refusal(replace(desk.honest, evidence=stranger.evidence)).code


ROWS: dict[str, tuple[Code, Callable[[Desk], Code]]] = {
    "S1 a lie about the builder": (
        Code.PROVENANCE_BUILDER,
        lambda desk: desk.signed(provenance=predicate(wrong("runDetails.builder.id", OTHER))),
    ),
    "S1 a lie about the source": (
        Code.PROVENANCE_SOURCE,
        lambda desk: desk.signed(provenance=predicate(claimed_source)),
    ),
    "S2 provenance of another subject": (
        Code.CHAIN_PROVENANCE_SUBJECTS,
        lambda desk: desk.signed(provenance=other_digest("os-image/os.img")),
    ),
    "S2 measurements of another subject": (
        Code.CHAIN_MEASUREMENTS_SUBJECTS,
        lambda desk: desk.signed(measurements=other_digest("os-image/os.img")),
    ),
    "S2 an index of another subject": (
        Code.CHAIN_INDEX_FILES,
        lambda desk: desk.signed(index=other_digest("os.img")),
    ),
    "S2 another predicate type": (
        Code.STATEMENT_PREDICATE_TYPE,
        lambda desk: desk.signed(provenance=other_type),
    ),
    "S2 an unknown field": (
        Code.FORMAT_SCHEMA,
        lambda desk: desk.signed(measurements=predicate(wrong("comment", "trust me"))),
    ),
    "S2 unknown external parameters": (
        Code.PROVENANCE_PARAMETERS,
        lambda desk: desk.signed(
            provenance=predicate(wrong("buildDefinition.externalParameters.debug", True))
        ),
    ),
    "S2 another trust root": (Code.BUNDLE_CERTIFICATE, another_root),
    "S4 rollback below what was accepted": (Code.RELEASE_BELOW_MEMORY, older),
    "S4 rollback below the policy": (
        Code.RELEASE_BELOW_MINIMUM,
        lambda desk: desk.under("release.minimum_sequence", 2),
    ),
    "S4 freeze by an index that never ends": (Code.RELEASE_TOO_OLD, frozen),
    "S4 freeze by an old index": (Code.RELEASE_EXPIRED, expired),
    "S4 a revoked release": (Code.RELEASE_REVOKED, revoked),
    "S5 an unknown owner": (Code.LAYOUT_UNKNOWN_OWNER, unknown_owner),
    "S5 an expired layout": (Code.LAYOUT_EXPIRED, expired_layout),
    "S5 a missing link": (
        Code.LINK_MISSING,
        lambda desk: desk.changed(lambda evidence: evidence["links"].pop()),
    ),
    "S5 a link of another identity": (
        Code.BUNDLE_IDENTITY,
        lambda desk: desk.signed(identities={"link:os-image": OTHER}),
    ),
    "S5 fewer builders than the threshold": (Code.LINK_THRESHOLD, too_few),
    "S5 builders that disagree": (Code.LINK_DISAGREEMENT, disagreeing),
    "S5 an artifact that no rule covers": (
        Code.LINK_ARTIFACT_RULE,
        lambda desk: desk.signed(link=uncovered),
    ),
    "S6 a trust root in the cache of the user": (Code.BUNDLE_CERTIFICATE, from_the_cache),
}


def test_s5_two_builders_that_agree_are_accepted(state: Path) -> None:
    hooks = Hooks(steps=two_of_two, rebuilt=lambda content: content)
    release = make_signed_release(state, rebuilders=(OTHER,), hooks=hooks)
    assert verify_release(release.evidence, release.policy, release.now).sequence == 1


@pytest.mark.parametrize("attack", ROWS)
def test_each_attack_is_refused_with_its_code(desk: Desk, attack: str) -> None:
    code, run = ROWS[attack]
    assert run(desk) is code


def by_workflow(github: LocalSigstore, ref: str, source: GithubSource) -> None:
    """A statement of a workflow that ran for a ref, under a policy that means a source.

    It is signed as that workflow could do it by itself: ours refuses to, for a pull request.
    """
    statement = Statement(
        subject=resources({"disk": sha256_bytes(b"disk")}),
        predicate_type=PROVENANCE_TYPE,
        predicate={},
    )
    config = ClientTrustConfig.from_json(github.trust_config_json)
    token = github.workflow_token(replace(RUN, ref=ref))
    with SigningContext.from_trust_config(config).signer(token) as session:
        bundle = session.sign_dsse(SigstoreStatement(statement.to_bytes())).to_json()
    root = github.trusted_root_json
    verify_statement(
        json.loads(bundle),
        predicate_type=PROVENANCE_TYPE,
        signer=Signer(
            issuer=GITHUB_ISSUER, identity=f"https://github.com/{RUN.builder}", github=source
        ),
        bundles=BundleVerifier(trust=trust_root(root), require=SigstorePolicy(trusted_root=root)),
    )


def tags(**change: str | None) -> GithubSource:
    honest = {
        "repository": f"https://github.com/{RUN.repository}",
        "workflow": RUN.workflow,
        "ref": None,
        "ref_pattern": "refs/tags/v*",
    }
    return GithubSource.model_validate(honest | change)


def test_s3_a_tag_is_accepted(github: LocalSigstore) -> None:
    by_workflow(github, "refs/tags/v1.2.3", tags())
    by_workflow(github, "refs/tags/v1.2.3", tags(ref="refs/tags/v1.2.3", ref_pattern=None))


@pytest.mark.parametrize(
    "ref",
    [
        "refs/heads/main",
        "refs/heads/v1",
        "refs/heads/refs/tags/v1",
        "refs/pull/7/merge",
        "refs/pull/7/head",
        "refs/tags/nightly",
        "refs/tags/v",
        "refs/tags/v1/evil",
    ],
)
def test_s3_a_branch_or_a_pull_request_is_not(github: LocalSigstore, ref: str) -> None:
    with pytest.raises(VerificationError) as caught:
        by_workflow(github, ref, tags())
    assert (caught.value.code, caught.value.step) == (Code.BUNDLE_SOURCE, 2)


@pytest.mark.parametrize("pattern", [".*", "refs/*", "refs/tags/*", "refs/pull/*", "refs/heads/*"])
def test_s3_a_loose_pattern_is_no_policy(honest: SignedRelease, pattern: str) -> None:
    parts = honest.policy.model_dump(exclude_none=True)
    builder = f"https://github.com/{RUN.builder}"
    source = {
        "repository": f"https://github.com/{RUN.repository}",
        "workflow": RUN.workflow,
        "ref_pattern": pattern,
    }
    parts["signer"] = {
        "issuer": GITHUB_ISSUER,
        "identity": builder,
        "builder_id": builder,
        "github": source,
    }
    with pytest.raises(PolicyError) as caught:
        Policy(**parts)
    assert (caught.value.code, caught.value.step) == (Code.POLICY_INVALID, 1)
    parts["signer"]["github"]["ref_pattern"] = "refs/tags/v*"
    Policy(**parts)


LOCKED = b"what the lock describes"


def other_bytes(store: Store, served: bytes) -> None:
    """A mirror that serves something, and the store that takes it in."""
    part = store.part(sha256_bytes(LOCKED))
    with file_server() as mirror:
        mirror.files["file"] = served
        download(f"{mirror.url}/file", part, size=len(LOCKED), wait_initial_s=0.001)
    store.adopt(part, sha256_bytes(LOCKED), name="input")


S7: dict[str, tuple[str, Callable[[Store], object]]] = {
    "a file that is not as locked": (
        "build.digest_mismatch",
        lambda store: store.put(LOCKED[::-1], sha256_bytes(LOCKED), name="input"),
    ),
    "a mirror that serves other bytes": (
        "build.digest_mismatch",
        partial(other_bytes, served=LOCKED[::-1]),
    ),
    "a mirror that serves more": ("build.fetch", partial(other_bytes, served=LOCKED + b"!")),
    "a download that ends too early": ("build.fetch", partial(other_bytes, served=LOCKED[:-1])),
}


@pytest.mark.parametrize("attack", S7)
def test_s7_an_input_that_its_lock_does_not_describe(tmp_path: Path, attack: str) -> None:
    code, run = S7[attack]
    store = Store(tmp_path)
    with pytest.raises(BuildError) as caught:
        run(store)
    assert caught.value.code == code
    assert not store.has(sha256_bytes(LOCKED))
    other_bytes(store, LOCKED)
    assert store.has(sha256_bytes(LOCKED))
