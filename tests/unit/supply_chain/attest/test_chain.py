"""Finished steps become a signed chain that a client accepts."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from blindllama.errors import Code, ProvenanceError
from blindllama.measurements import PlatformName, measurements_file
from blindllama.policy import Policy
from blindllama.release import verify_release
from supply_chain.attest.chain import LayoutPlan, Measured, SignedChain, layout_steps, sign_chain
from supply_chain.attest.config import Person
from supply_chain.attest.owner import owner_key
from supply_chain.attest.signing import signer, statement_in
from supply_chain.attest.statement import ReleaseIndexPredicate, index_statement
from supply_chain.attest.trust import LOCAL_IDENTITY, PublicSigstore, SigningError
from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.progress import SilentProgress
from supply_chain.release import chain_files, evidence_document, release_policy
from supply_chain.step import Step, StepResult, run_step
from tests.simulators.github_runner import RUN
from tests.simulators.signed_release import (
    DISKS,
    INPUTS,
    PLATFORMS,
    RELEASE_FILES,
    STEPS,
    VTPM_ROOT,
)

if TYPE_CHECKING:
    from pathlib import Path

    from supply_chain.attest.signing import Signer

NOW = datetime.now(UTC).replace(microsecond=0)

pytestmark = pytest.mark.root  # steps are built without a network

INDEX = ReleaseIndexPredicate(
    name="chain", sequence=3, created=NOW, expires=NOW + timedelta(days=1)
)


def write(names: tuple[str, ...], folder: Path) -> None:
    for name in names:
        (folder / name).write_text(name)
    if names == ("measurements.json",):
        (folder / names[0]).write_bytes(measurements_file(debug=False, platforms=PLATFORMS))


@pytest.fixture
def results(tmp_path: Path) -> list[StepResult]:
    done: dict[str, StepResult] = {}
    for demanded in STEPS:
        names = tuple(product.partition("/")[2] for product in demanded.products)
        step = Step(
            name=demanded.name,
            inputs={name.removeprefix("inputs/"): digest for name, digest in INPUTS.items()},
            after=demanded.materials_from,
            products=names,
            code={},
            parameters={"level": 1},
            build=partial(write, names),
        )
        done[step.name] = run_step(
            step, earlier=done, build_root=tmp_path / "build", clock=lambda: NOW
        )
    return list(done.values())


def signed(results: list[StepResult], signing: Signer, state: Path) -> SignedChain:
    return sign_chain(
        results,
        measured=Measured(subjects=DISKS, debug=False, platforms=PLATFORMS),
        sequence=INDEX.sequence,
        signer=signing,
        plan=LayoutPlan(
            owners=[owner_key(state)],
            expires=NOW + timedelta(days=1),
            # As in chain.toml: with a workflow's release, nobody can be meant by it.
            rebuilders=(Person(identity="https://blindllama.dev/rebuilders/local/v1"),),
        ),
        progress=SilentProgress(),
    )


def test_what_was_run_is_what_the_layout_demands(results: list[StepResult]) -> None:
    assert layout_steps([result.step for result in results]) == STEPS


def test_a_step_is_declared_with_its_rules(results: list[StepResult]) -> None:
    """One more step in the pipeline is one more in the layout, closed, whatever it makes."""
    steps = [result.step for result in results]
    more = replace(steps[0], name="extra", after=("measure",), products=("extra.bin",))
    step = layout_steps([*steps, more], {"extra": 2})[-1]
    assert (step.name, step.materials_from) == ("extra", ("measure",))
    assert (step.products, step.threshold) == (("extra/extra.bin",), 2)


def test_a_step_without_a_rule_fails(
    results: list[StepResult], signing: Signer, attest_state: Path
) -> None:
    """Three ways to add one: it makes nothing, it reads what nobody makes, clients do not know it."""
    extra = replace(results[0].step, name="extra")
    for step in (replace(extra, products=()), replace(extra, after=("nothing",))):
        with pytest.raises(SigningError, match="layout, step extra: expected a new name, products"):
            signed([*results, replace(results[0], step=step)], signing, attest_state)
    evidence, policy = released([*results, replace(results[0], step=extra)], signing, attest_state)
    with pytest.raises(ProvenanceError) as raised:
        verify_release(evidence, policy, NOW)
    assert raised.value.code is Code.LAYOUT_STEPS


def test_a_threshold_of_no_step_is_refused(results: list[StepResult]) -> None:
    with pytest.raises(SigningError, match="expected names of steps, got") as raised:
        layout_steps([result.step for result in results], {"deploy": 2})
    assert raised.value.code == "build.signing"


def test_provenance_says_all_that_it_must(
    results: list[StepResult], signing: Signer, attest_state: Path
) -> None:
    chain = signed(results, signing, attest_state)
    for result in results:
        name = result.step.name
        statement = json.loads(statement_in(chain.provenance[name]))
        definition = statement["predicate"]["buildDefinition"]
        details = statement["predicate"]["runDetails"]
        subjects = {entry["name"]: entry["digest"]["sha256"] for entry in statement["subject"]}
        assert subjects == {name: digest.hex for name, digest in result.products.items()}
        read = {
            entry["name"]: entry["digest"]["sha256"] for entry in definition["resolvedDependencies"]
        }
        inputs = {f"inputs/{name}": digest.hex for name, digest in result.step.inputs.items()}
        assert inputs.items() <= read.items()
        assert read == {
            **{name: digest.hex for name, digest in result.materials.items()},
            "layout": chain.layout.payload_digest.hex,
        }
        (link,) = (link for path, link in chain.links.items() if path.startswith(f"{name}."))
        assert details["byproducts"] == [
            {"name": f"{name}.link", "digest": {"sha256": link.payload_digest.hex}}
        ]
        assert details["builder"] == {"id": LOCAL_IDENTITY}
        assert definition["internalParameters"] == {}
        assert definition["externalParameters"] == {"step": name, "spec": {"level": 1}}


def released(results: list[StepResult], signing: Signer, state: Path) -> tuple[bytes, Policy]:
    """Evidence and policy of a release of the steps."""
    chain = signed(results, signing, state)
    files = {path: sha256_bytes(data) for path, data in chain_files(chain).items()}
    made = products(results)
    for path, product in RELEASE_FILES.items():
        files[path] = sha256_bytes(b"") if product is None else made[product]
    index = signing.sign_statement(index_statement(files, INDEX))
    policy = release_policy(
        index=INDEX,
        platform=PlatformName.QEMU_SWTPM,
        authority=signing.authority,
        owners=[owner_key(state)],
        vtpm_roots=[VTPM_ROOT],
    )
    return evidence_document(chain, index), policy


def products(results: list[StepResult]) -> dict[str, Sha256]:
    return {name: digest for result in results for name, digest in result.products.items()}


def test_a_client_accepts_the_chain(
    results: list[StepResult], signing: Signer, attest_state: Path
) -> None:
    evidence, policy = released(results, signing, attest_state)
    verified = verify_release(evidence, policy, NOW)
    assert (verified.name, verified.sequence) == ("chain", 3)
    assert verified.artifacts == {name: digest.hex for name, digest in products(results).items()}


def test_a_client_accepts_the_chain_of_a_workflow(
    results: list[StepResult], attest_state: Path, github: Path
) -> None:
    with signer(attest_state, public=PublicSigstore(trust_config=github)) as signing:
        evidence, policy = released(results, signing, attest_state)
    by_hand = Policy.github(
        repository=RUN.repository,
        workflow="release.yml",
        ref=RUN.ref,
        builder=RUN.builder,
        name=INDEX.name,
        minimum_sequence=INDEX.sequence,
        maximum_age_days=30,
        trusted_root=policy.sigstore.trusted_root,
        owners=policy.layout.owners,
        platform=PlatformName.QEMU_SWTPM,
        vtpm_roots=policy.vtpm.roots,
    )
    assert policy == by_hand
    assert verify_release(evidence, policy, NOW).signer == f"https://github.com/{RUN.builder}"


@pytest.mark.parametrize(
    ("part", "value"),
    [
        ("repository", "https://github.com/somebody/models"),
        ("workflow", ".github/workflows/other.yml"),
        ("ref", "refs/heads/v1.0.0"),
        ("runner", "self-hosted"),
    ],
)
def test_a_workflow_of_another_source_is_refused(
    results: list[StepResult], attest_state: Path, github: Path, part: str, value: str
) -> None:
    with signer(attest_state, public=PublicSigstore(trust_config=github)) as signing:
        evidence, policy = released(results, signing, attest_state)
    assert policy.signer.github is not None
    other = policy.signer.github.model_copy(update={part: value})
    strict = policy.model_copy(
        update={"signer": policy.signer.model_copy(update={"github": other})}
    )
    with pytest.raises(ProvenanceError) as raised:
        verify_release(evidence, strict, NOW)
    assert raised.value.code is (Code.BUNDLE_RUNNER if part == "runner" else Code.BUNDLE_SOURCE)


def test_s3_a_pattern_takes_the_tags_that_it_means(
    results: list[StepResult], attest_state: Path, github: Path
) -> None:
    with signer(attest_state, public=PublicSigstore(trust_config=github)) as signing:
        evidence, policy = released(results, signing, attest_state)

    def accepting(pattern: str) -> Policy:
        parts = policy.model_dump(exclude_none=True)
        parts["signer"]["github"].pop("ref")
        parts["signer"]["github"]["ref_pattern"] = pattern
        return Policy(**parts)

    for pattern in ("refs/tags/v*", "refs/tags/v1.*", "refs/tags/v1*0"):
        assert verify_release(evidence, accepting(pattern), NOW).sequence == INDEX.sequence
    for pattern in ("refs/tags/v2*", "refs/tags/v1.0.0*", "refs/tags/v*x", "refs/tags/1*"):
        with pytest.raises(ProvenanceError) as raised:
            verify_release(evidence, accepting(pattern), NOW)
        assert raised.value.code is Code.BUNDLE_SOURCE
