"""The verification summary in a release folder."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from invoke import Context, Exit

from blindllama.errors import Code, VerificationError
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from supply_chain import _chain_tasks
from supply_chain.attest.signing import signer
from supply_chain.attest.summary import LOCAL_VERIFIER
from supply_chain.release import SUMMARY, ReleaseError, read_release, verify_folder
from supply_chain.summary import verify_folder_summary, write_summary
from tests.simulators.release_folder import made_folder


class Summarised:
    """A release folder with its summary."""

    def __init__(self, root: Path) -> None:
        self.policy = made_folder(root).policy
        self.folder, self.state = root / "release", root / "state"
        self.now = datetime.now(UTC)
        self.verified: VerifiedRelease = verify_release(
            read_release(self.folder).evidence, self.policy, self.now
        )
        self.write()

    def write(self, identity: str = LOCAL_VERIFIER) -> None:
        with signer(self.state, identity=identity) as verifier:
            write_summary(
                self.folder,
                self.verified,
                policy=self.policy.to_toml().encode(),
                verifier=verifier,
                now=self.now,
            )


@pytest.fixture
def summarised(tmp_path: Path) -> Summarised:
    return Summarised(tmp_path)


def test_a_release_may_have_one(summarised: Summarised) -> None:
    verify_folder(summarised.folder, summarised.verified)
    summary = verify_folder_summary(
        summarised.folder, summarised.verified, summarised.policy, now=summarised.now
    )
    assert summary is not None
    assert summary.artifacts == summarised.verified.artifacts
    named = {uri.split("/1/")[1] for uri in summary.inputs}
    assert {"root.layout", "bundles/index.sigstore.json"} < named
    assert sum(path.startswith("links/") for path in named) == 4
    assert sum(path.endswith("provenance.sigstore.json") for path in named) == 4
    assert not named & {"os.img", "app.img", SUMMARY}


def test_a_release_may_have_none(summarised: Summarised) -> None:
    (summarised.folder / SUMMARY).unlink()
    verify_folder(summarised.folder, summarised.verified)
    assert (
        verify_folder_summary(
            summarised.folder, summarised.verified, summarised.policy, now=summarised.now
        )
        is None
    )


def test_whom_to_believe_is_the_policys(summarised: Summarised) -> None:
    parts = summarised.policy.model_dump(exclude_none=True)
    del parts["verifier"]
    assert (
        verify_folder_summary(
            summarised.folder, summarised.verified, Policy(**parts), now=summarised.now
        )
        is None
    )


def test_a_summary_by_somebody_else_is_refused(summarised: Summarised) -> None:
    summarised.write(identity="https://blindllama.dev/verifiers/impostor")
    with pytest.raises(VerificationError) as caught:
        verify_folder_summary(
            summarised.folder, summarised.verified, summarised.policy, now=summarised.now
        )
    assert caught.value.code is Code.BUNDLE_IDENTITY


def test_a_summary_of_other_documents_is_refused(summarised: Summarised) -> None:
    """The same verdict over another signature of the same index: not what the verifier saw."""
    path = summarised.folder / "bundles" / "index.sigstore.json"
    path.write_bytes(json.dumps(json.loads(path.read_bytes()), indent=1).encode())
    with pytest.raises(ReleaseError, match="made from other documents") as caught:
        verify_folder_summary(
            summarised.folder, summarised.verified, summarised.policy, now=summarised.now
        )
    assert caught.value.code == "build.release"


def test_the_task_says_whose_verdict_there_is(
    summarised: Summarised, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = summarised.folder.parent / "policy.toml"
    _chain_tasks.verify(Context(), str(summarised.folder), str(policy))
    assert f"SLSA_BUILD_LEVEL_1, says {LOCAL_VERIFIER}" in capsys.readouterr().out
    summarised.write(identity="https://blindllama.dev/verifiers/impostor")
    with pytest.raises(Exit, match=r"refused in step 2, bundle\.identity"):
        _chain_tasks.verify(Context(), str(summarised.folder), str(policy))
