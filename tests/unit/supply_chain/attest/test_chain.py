"""Finished steps become a signed chain that a client accepts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import pytest

from blindllama.measurements import PlatformName, measurements_file
from blindllama.release import verify_release
from supply_chain.attest.chain import LayoutPlan, Measured, SignedChain, layout_steps, sign_chain
from supply_chain.attest.owner import owner_key
from supply_chain.attest.provenance import LOCAL_BUILDER
from supply_chain.attest.statement import ReleaseIndexPredicate, index_statement
from supply_chain.attest.trust import PublicSigstore, SigningError, authority
from supply_chain.digest import sha256_bytes
from supply_chain.progress import SilentProgress
from supply_chain.release import chain_files, evidence_document, release_policy
from supply_chain.step import Step, StepResult, run_step
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
        plan=LayoutPlan(owners=[owner_key(state)], expires=NOW + timedelta(days=1)),
        progress=SilentProgress(),
    )


def test_what_was_run_is_what_the_layout_demands(results: list[StepResult]) -> None:
    assert layout_steps([result.step for result in results]) == STEPS


def test_a_client_accepts_the_chain(
    results: list[StepResult], signing: Signer, attest_state: Path
) -> None:
    chain = signed(results, signing, attest_state)
    products = {name: digest for result in results for name, digest in result.products.items()}
    files = {path: sha256_bytes(data) for path, data in chain_files(chain).items()}
    for path, product in RELEASE_FILES.items():
        files[path] = sha256_bytes(b"") if product is None else products[product]
    index = signing.sign_statement(index_statement(files, INDEX))
    policy = release_policy(
        index=INDEX,
        platform=PlatformName.QEMU_SWTPM,
        authority=signing.authority,
        builder_id=LOCAL_BUILDER,
        owners=[owner_key(attest_state)],
        vtpm_roots=[VTPM_ROOT],
    )
    verified = verify_release(evidence_document(chain, index), policy, NOW)
    assert (verified.name, verified.sequence) == ("chain", 3)
    assert verified.artifacts == {name: digest.hex for name, digest in products.items()}


def test_a_signer_without_a_known_identity_is_refused(
    results: list[StepResult], attest_state: Path, ci_job: Path
) -> None:
    from supply_chain.attest.signing import Signer  # noqa: PLC0415 - only a type above

    with (
        authority(attest_state, public=PublicSigstore(trust_config=ci_job)) as found,
        pytest.raises(SigningError, match="identity is not known") as raised,
    ):
        signed(results, Signer(found), attest_state)
    assert raised.value.code == "build.signing"
