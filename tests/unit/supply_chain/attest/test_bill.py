"""Bills of materials: what was built, what is in the folder and what was signed are one thing."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

from blindllama.attestation import verify_attestation
from blindllama.errors import VerificationError
from blindllama.policy import Policy
from blindllama.release import verify_release
from supply_chain.attest.bill import DISKS, SBOM_TYPE, BillError, sbom_statement, verify_bills
from supply_chain.attest.signing import Signer, signer
from supply_chain.attest.statement import Statement
from supply_chain.digest import sha256_bytes, sha256_file
from supply_chain.release import read_release, verify_folder
from tests.simulators.release_folder import WHEEL, Bundles, bill_of, honest_bills, made_folder

OS_IMAGE = DISKS[0]
MORE = {WHEEL.subject: b"a wheel", WHEEL.path: bill_of(WHEEL)}


def verify(root: Path) -> tuple[str, ...]:
    """Verify a release folder as `invoke chain.verify` does; return the subjects of the bills."""
    policy = Policy.from_file(root / "policy.toml")
    folder = read_release(root / "release")
    verified = verify_release(folder.evidence, policy, datetime.now(UTC))
    verify_folder(folder.path, verified)
    return verify_bills(folder.path, verified, policy)


def test_each_disk_and_the_wheel_have_a_signed_bill(tmp_path: Path) -> None:
    made_folder(tmp_path, more=MORE)
    assert verify(tmp_path) == ("os.img", "app.img", WHEEL.subject)


def instead(statement: Statement, files: Mapping[str, Path], by: Signer) -> dict[str, bytes]:
    """Honest bundles, but for the one of the OS image."""
    return {**honest_bills(files, by), OS_IMAGE.bundle: by.sign_statement(statement)}


def about_another_file(files: Mapping[str, Path], by: Signer) -> dict[str, bytes]:
    digest = sha256_file(files["app.img"])
    return instead(sbom_statement("os.img", digest, bill_of(OS_IMAGE)), files, by)


def under_another_name(files: Mapping[str, Path], by: Signer) -> dict[str, bytes]:
    digest = sha256_file(files["os.img"])
    return instead(sbom_statement("disk.img", digest, bill_of(OS_IMAGE)), files, by)


def of_another_type(files: Mapping[str, Path], by: Signer) -> dict[str, bytes]:
    statement = sbom_statement("os.img", sha256_file(files["os.img"]), bill_of(OS_IMAGE))
    other = statement.model_copy(update={"predicate_type": "https://spdx.dev/Document"})
    return instead(other, files, by)


def by_somebody_else(files: Mapping[str, Path], by: Signer) -> dict[str, bytes]:
    state = files["os.img"].parents[1] / "state"
    with signer(state, identity="https://blindllama.dev/rebuilders/local/v1") as other:
        return {**honest_bills(files, by), **honest_bills(files, other)}


@pytest.mark.parametrize(
    ("bundles", "code"),
    [
        (about_another_file, "statement.subject"),
        (under_another_name, "statement.subject"),
        (of_another_type, "statement.predicate_type"),
        (by_somebody_else, "bundle.identity"),
    ],
)
def test_a_statement_that_is_not_the_builders_about_this_disk_is_refused(
    tmp_path: Path, bundles: Bundles, code: str
) -> None:
    made_folder(tmp_path, bundles=bundles)
    with pytest.raises(VerificationError) as caught:
        verify(tmp_path)
    assert (caught.value.code, caught.value.step) == (code, 2)


def says_less(files: Mapping[str, Path], by: Signer) -> dict[str, bytes]:
    return instead(sbom_statement("os.img", sha256_file(files["os.img"]), b"{}"), files, by)


def left_out(files: Mapping[str, Path], by: Signer) -> dict[str, bytes]:
    return {path: data for path, data in honest_bills(files, by).items() if path != OS_IMAGE.bundle}


@pytest.mark.parametrize(
    ("bundles", "more", "words"),
    [
        (says_less, {}, "expected what was signed"),
        (left_out, {}, "expected the file bundles/os-image.sbom.sigstore.json"),
        (honest_bills, {OS_IMAGE.path: b"{}"}, "expected what the step made"),
        (honest_bills, {WHEEL.subject: b"a wheel"}, "expected the file sbom/sdk.cdx.json"),
    ],
)
def test_a_bill_that_is_missing_or_says_something_else_is_refused(
    tmp_path: Path, bundles: Bundles, more: Mapping[str, bytes], words: str
) -> None:
    made_folder(tmp_path, bundles=bundles, more=more)
    with pytest.raises(BillError, match=words) as caught:
        verify(tmp_path)
    assert caught.value.code == "build.bill"


@pytest.mark.parametrize("bundle", [b"", b"{}", b"[]", b"\xff", b"{" * 100_000])
def test_what_is_no_bundle_is_refused(tmp_path: Path, bundle: bytes) -> None:
    made = made_folder(tmp_path)
    with pytest.raises(VerificationError) as caught:
        verify_attestation(
            bundle,
            made.policy,
            predicate_type=SBOM_TYPE,
            subjects={"os.img": sha256_bytes(b"os-image/os.img").hex},
        )
    assert caught.value.code.partition(".")[0] in {"format", "bundle"}
