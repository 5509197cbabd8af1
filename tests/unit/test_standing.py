from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

import standing
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from building_site import Site, read_site
from supply_chain.attest.config import (
    BuilderOwner,
    ChainConfig,
    FileOwner,
    IdentityOwner,
    Person,
    Thresholds,
)
from supply_chain.attest.owner import owner_key
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace
from tests.simulators.release_folder import made_folder
from tests.simulators.signed_release import make_signed_release


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, VerifiedRelease]:
    """The second release of somebody, and the policy that was written with it."""
    made = make_signed_release(tmp_path_factory.mktemp("state"), sequence=2)
    return made.policy, verify_release(made.evidence, made.policy, made.now)


def test_a_release_and_its_policy_belong_together(signed: tuple[Policy, VerifiedRelease]) -> None:
    assert standing.belongs_to(*signed, debug=False)


def test_the_policy_of_the_release_before_does_not(signed: tuple[Policy, VerifiedRelease]) -> None:
    policy, verified = signed
    before = policy.release.model_copy(update={"minimum_sequence": 1})
    older = policy.model_copy(update={"release": before})
    assert not standing.belongs_to(older, verified, debug=False)


def test_the_policy_of_a_debug_image_does_not(signed: tuple[Policy, VerifiedRelease]) -> None:
    policy, verified = signed
    laxer = policy.model_copy(update={"debug_images": True})
    assert not standing.belongs_to(laxer, verified, debug=False)
    assert standing.belongs_to(laxer, verified, debug=True)


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory, checkout: Path) -> tuple[Site, Policy]:
    """A site with a release that its builder alone signed, and the release's policy."""
    root = tmp_path_factory.mktemp("site")
    policy = made_folder(root / "dist").policy
    site = read_site(
        checkout, environ={}, progress=SilentProgress(), clock=lambda: datetime.now(UTC)
    )
    chain = ChainConfig(owners=(FileOwner(kind="file"),), valid_days=90, renew_days=7)
    workspace = Workspace(root=root, cache=root / "dist")
    return replace(site, workspace=workspace, chain=chain), policy


def test_a_release_is_kept_under_the_chain_that_it_was_signed_under(
    published: tuple[Site, Policy],
) -> None:
    assert standing.of_this_chain(*published)


@pytest.mark.parametrize(
    "change",
    [
        {"rebuilders": (Person(identity="https://blindllama.dev/rebuilders/local/v1"),)},
        {"owners": (IdentityOwner(kind="sigstore", identity="me"),)},
        {"owners": (FileOwner(kind="file"), IdentityOwner(kind="sigstore", identity="me"))},
        {"owners": (BuilderOwner(kind="builder"),)},
        {"thresholds": Thresholds.model_validate({"engine": 2})},
    ],
    ids=["a rebuilder", "another owner", "one more owner", "the builder", "another threshold"],
)
def test_another_chain_signs_again(
    published: tuple[Site, Policy], change: dict[str, object]
) -> None:
    site, policy = published
    other = replace(site, chain=site.chain.model_copy(update=change))
    assert not standing.of_this_chain(other, policy)


def test_another_key_of_the_owner_signs_again(
    published: tuple[Site, Policy], tmp_path: Path
) -> None:
    site, policy = published
    workspace = replace(site.workspace, cache=tmp_path)
    for made in (False, True):
        if made:
            owner_key(workspace.state)
        assert not standing.of_this_chain(replace(site, workspace=workspace), policy)
