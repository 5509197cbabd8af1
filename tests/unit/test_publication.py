from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import publication
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from supply_chain.errors import BuildError
from supply_chain.workspace import Workspace
from tests.simulators.signed_release import make_signed_release


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, VerifiedRelease]:
    """The second release of somebody, and the policy that was written with it."""
    made = make_signed_release(tmp_path_factory.mktemp("state"), sequence=2)
    return made.policy, verify_release(made.evidence, made.policy, made.now)


def test_a_release_and_its_policy_belong_together(signed: tuple[Policy, VerifiedRelease]) -> None:
    assert publication.belongs_to(*signed, debug=False)


def test_the_policy_of_the_release_before_does_not(signed: tuple[Policy, VerifiedRelease]) -> None:
    policy, verified = signed
    before = policy.release.model_copy(update={"minimum_sequence": 1})
    older = policy.model_copy(update={"release": before})
    assert not publication.belongs_to(older, verified, debug=False)


def test_the_policy_of_a_debug_image_does_not(signed: tuple[Policy, VerifiedRelease]) -> None:
    policy, verified = signed
    laxer = policy.model_copy(update={"debug_images": True})
    assert not publication.belongs_to(laxer, verified, debug=False)
    assert publication.belongs_to(laxer, verified, debug=True)


def test_runs_at_the_same_time_never_share_a_number(workspace: Workspace) -> None:
    with ThreadPoolExecutor(8) as pool:
        numbers = list(pool.map(lambda _: publication._next_sequence(workspace, "x"), range(40)))
    assert sorted(numbers) == list(range(1, 41))


def test_a_damaged_number_is_never_begun_anew(workspace: Workspace) -> None:
    path: Path = workspace.state / "sequence" / "x.json"
    path.parent.mkdir(parents=True)
    path.write_text("{}")
    with pytest.raises(BuildError, match="not below any you published"):
        publication._next_sequence(workspace, "x")
    assert path.read_text() == "{}"
