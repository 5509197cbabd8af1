"""A rebuild on its way into a release: what it may change there, and what a client makes of it."""

from __future__ import annotations

import base64
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from invoke import Context

from blindllama.errors import Code, ProvenanceError
from blindllama.measurements import measurements_file
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from blindllama.summary import VerifiedSummary
from supply_chain import _chain_tasks
from supply_chain.attest.rebuild import (
    LOCAL_REBUILDER,
)
from supply_chain.attest.signing import signer
from supply_chain.attest.summary import LOCAL_VERIFIER
from supply_chain.claimed import ClaimError, read_claim
from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.rebuilds import (
    LINKS,
    STATEMENT,
    TRUSTED_ROOT,
    RebuildError,
)
from supply_chain.release import EVIDENCE, ReleaseError, read_release, verify_folder
from supply_chain.summary import verify_folder_summary, write_summary
from tests.simulators.rebuilt_release import STEPS, Bench
from tests.simulators.signed_release import (
    PLATFORMS,
    PRODUCTS,
)

STRANGER = "https://blindllama.dev/rebuilders/stranger"
Json = dict[str, Any]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


@pytest.fixture(scope="module")
def honest(bench: Bench) -> Path:
    """The local rebuilder's folder."""
    return bench.rebuild(bench.root / "rebuild")


@pytest.fixture
def release(bench: Bench, tmp_path: Path) -> Path:
    """A copy of the release that the test may change."""
    return Path(shutil.copytree(bench.root / "release", tmp_path / "release"))


def verify(bench: Bench, release: Path, policy: Policy | None = None) -> VerifiedRelease:
    evidence = read_release(release).evidence
    verified = verify_release(evidence, policy or bench.made.policy, bench.made.now)
    verify_folder(release, verified)
    return verified


def test_two_functionaries_are_met_by_a_rebuild(
    bench: Bench, honest: Path, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ProvenanceError) as caught:
        verify(bench, release)
    assert caught.value.code is Code.LINK_THRESHOLD
    (bench.root / "policy.toml").write_text(bench.made.policy_toml)
    _chain_tasks.add(Context(), str(honest), str(release), str(bench.root / "policy.toml"))
    assert "counts its links for app-disk, engine, os-image" in capsys.readouterr().out
    assert verify(bench, release).sequence == 1


def test_a_policy_counts_the_rebuilder_too(bench: Bench, honest: Path, release: Path) -> None:
    document = bench.made.policy.model_dump(exclude_none=True)
    known = {"issuer": bench.made.policy.signer.issuer, "identity": LOCAL_REBUILDER}
    policy = Policy.from_mapping(document | {"rebuilders": {"threshold": 1, "identities": [known]}})
    bench.add(honest, release)
    verify(bench, release, policy)
    evidence = json.loads((release / EVIDENCE).read_bytes())
    del evidence["rebuilds"]
    with pytest.raises(ProvenanceError) as caught:
        verify_release(json.dumps(evidence).encode(), policy, bench.made.now)
    assert caught.value.code is Code.REBUILD_MISSING


def test_one_step_is_not_all(bench: Bench, release: Path, tmp_path: Path) -> None:
    bench.add(bench.rebuild(tmp_path / "engine", steps=("engine",)), release)
    with pytest.raises(ProvenanceError) as caught:
        verify(bench, release)
    assert caught.value.code is Code.LINK_THRESHOLD
    added = bench.add(bench.rebuild(tmp_path / "rest", steps=("app-disk", "os-image")), release)
    assert added.steps == ("app-disk", "os-image")
    verify(bench, release)


def test_adding_again_changes_nothing(bench: Bench, honest: Path, release: Path) -> None:
    bench.add(honest, release)
    once = {path: path.read_bytes() for path in release.rglob("*") if path.is_file()}
    bench.add(honest, release)
    assert {path: path.read_bytes() for path in release.rglob("*") if path.is_file()} == once


def test_somebody_whom_the_layout_does_not_know_adds_a_statement_alone(
    bench: Bench, honest: Path, release: Path, tmp_path: Path
) -> None:
    bench.add(honest, release)
    added = bench.add(bench.rebuild(tmp_path / "stranger", who=STRANGER), release)
    assert (added.steps, added.links) == (STEPS, ())
    verify(bench, release)
    evidence = json.loads((release / EVIDENCE).read_bytes())
    assert (len(evidence["rebuilds"]), len(evidence["links"])) == (2, 4 + 3)


def test_a_rebuild_of_another_machine(
    bench: Bench, honest: Path, release: Path, tmp_path: Path
) -> None:
    """Its Sigstore is another one, whatever names it uses: a client may trust it, a layout not."""
    theirs = bench.rebuild(tmp_path / "theirs", state=tmp_path / "their state")
    added = bench.add(theirs, release)
    assert (added.steps, added.links) == (STEPS, ())
    with pytest.raises(ProvenanceError) as caught:
        verify(bench, release)
    assert caught.value.code is Code.LINK_THRESHOLD
    bench.add(honest, release)
    verify(bench, release)
    names = {"issuer": bench.made.policy.signer.issuer, "identity": LOCAL_REBUILDER}
    known = [names, names | {"trusted_root": (theirs / TRUSTED_ROOT).read_text()}]
    document = bench.made.policy.model_dump(exclude_none=True)
    document["rebuilders"] = {"threshold": 2, "identities": known}
    verify(bench, release, Policy.from_mapping(document))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sequence": 2}, "another release"),
        ({"evil": "os-image/os.img"}, "made other bytes than the release: .'os-image/os.img'"),
    ],
)
def test_what_is_no_rebuild_of_this_release(
    bench: Bench, release: Path, tmp_path: Path, options: dict[str, Any], said: str
) -> None:
    before = (release / EVIDENCE).read_bytes()
    with pytest.raises(RebuildError, match=said):
        bench.add(bench.rebuild(tmp_path / "rebuild", **options), release)
    assert (release / EVIDENCE).read_bytes() == before
    assert not (release / "rebuilds").exists()


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (STATEMENT, None, "make one: invoke reproduce"),
        (STATEMENT, b"{", "is not a rebuild"),
        (STATEMENT, b"{}", "not about a rebuild"),
        (f"{LINKS}/engine.link", b"{}", "a link of the rebuild is malformed"),
    ],
)
def test_a_malformed_rebuild(
    bench: Bench,
    honest: Path,
    release: Path,
    tmp_path: Path,
    name: str,
    content: bytes | None,
    said: str,
) -> None:
    folder = Path(shutil.copytree(honest, tmp_path / "rebuild"))
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    with pytest.raises(RebuildError, match=said):
        bench.add(folder, release)


def test_no_more_than_clients_read(bench: Bench, honest: Path, release: Path) -> None:
    evidence = json.loads((release / EVIDENCE).read_bytes())
    evidence["rebuilds"] = [{"number": number} for number in range(32)]
    (release / EVIDENCE).write_text(json.dumps(evidence))
    with pytest.raises(RebuildError, match="32 rebuilds already"):
        bench.add(honest, release)


def test_a_summary_made_before_stands_and_one_made_after_counts_the_rebuild(
    bench: Bench, honest: Path, release: Path, tmp_path: Path
) -> None:
    policy = bench.policy_with_verifier()
    bench.add(honest, release)
    verified = verify(bench, release)
    with signer(bench.state, identity=LOCAL_VERIFIER) as verifier:
        write_summary(release, verified, policy=b"policy", verifier=verifier, now=bench.made.now)

    def summary() -> VerifiedSummary:
        found = verify_folder_summary(release, verified, policy, now=bench.made.now)
        assert found is not None
        return found

    rebuilt = [name for name in summary().inputs if "/rebuilds/" in name]
    assert len(rebuilt) == 1 + len(STEPS)
    bench.add(bench.rebuild(tmp_path / "stranger", who=STRANGER), release)
    verify(bench, release)
    assert [name for name in summary().inputs if "/rebuilds/" in name] == rebuilt
    shutil.rmtree(release / "rebuilds")
    with pytest.raises(ReleaseError, match="other documents"):
        summary()


class TestFolder:
    """`rebuilds/` is outside of the signed index: nothing but parts of the evidence may be in it."""

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda place: (place / "more.json").write_text("{}"),
            lambda place: (place / "program").write_bytes(b"\x7fELF"),
            lambda place: (place / "deep").write_text("[" * 100_000),
            lambda place: (place / STATEMENT).write_bytes((place / STATEMENT).read_bytes()[:-9]),
            lambda place: (place / "link").symlink_to(place / STATEMENT),
        ],
        ids=["unknown", "no JSON", "deep", "cut off", "symbolic link"],
    )
    def test_anything_else_is_refused(
        self, bench: Bench, honest: Path, release: Path, spoil: Callable[[Path], object]
    ) -> None:
        bench.add(honest, release)
        (place,) = (release / "rebuilds").iterdir()
        spoil(place)
        with pytest.raises(ReleaseError, match="expected a part of evidence.json"):
            verify(bench, release)

    def test_the_copies_may_be_missing(self, bench: Bench, honest: Path, release: Path) -> None:
        """As after a kill between the evidence and them."""
        bench.add(honest, release)
        shutil.rmtree(release / "rebuilds")
        verify(bench, release)


class TestClaim:
    def test_says_what_the_release_says(self, bench: Bench) -> None:
        claim = bench.claim
        assert (claim.name, claim.sequence) == (bench.made.index.name, 1)
        assert claim.products == stated_products()
        assert "llama.cpp" in claim.steps["engine"].inputs
        assert claim.steps["engine"].parameters == {"simulated": True}
        assert claim.files.keys() >= {"os.img", "app.img"}

    @pytest.mark.parametrize(
        "evidence", [b"", b"[]", b"{}", b"{'a'", b"[" * 100_000, b'{"layout":{"payload":"e30="}}']
    )
    def test_what_is_no_evidence(self, evidence: bytes) -> None:
        with pytest.raises(ClaimError, match="not the evidence of a release"):
            read_claim(evidence)

    def test_links_that_contradict_each_other(self, bench: Bench) -> None:
        document: Json = json.loads((bench.root / "release" / EVIDENCE).read_bytes())
        link = json.loads(json.dumps(document["links"][0]))
        payload = json.loads(base64.b64decode(link["payload"]))
        payload["products"]["engine/model.gguf"]["sha256"] = sha256_bytes(b"evil").hex
        link["payload"] = base64.b64encode(json.dumps(payload).encode()).decode()
        document["links"].append(link)
        with pytest.raises(ClaimError, match="contradict each other"):
            read_claim(json.dumps(document).encode())

    def test_a_step_without_a_link(self, bench: Bench) -> None:
        document: Json = json.loads((bench.root / "release" / EVIDENCE).read_bytes())
        del document["links"][0]
        with pytest.raises(ClaimError, match="no link of step engine"):
            read_claim(json.dumps(document).encode())


def stated_products() -> dict[str, Sha256]:
    return {name: sha256_bytes(name.encode()) for name in PRODUCTS} | {
        "measure/measurements.json": sha256_bytes(
            measurements_file(debug=False, platforms=PLATFORMS)
        )
    }
