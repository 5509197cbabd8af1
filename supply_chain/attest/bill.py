"""Signed bills of materials: which file of a release each is about, and that it says the same.

A bill is there three times: as a product of the step that built the subject, as a file of the
release, and as the predicate of a statement about the subject. Whoever reads one of them knows
that it is the others.

Source: in-toto attestation framework, predicate type CycloneDX.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from blindllama.attestation import verify_attestation
from supply_chain.attest.statement import Statement, canonical, resources
from supply_chain.digest import sha256_file
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from blindllama.policy import Policy
    from blindllama.release import VerifiedRelease
    from supply_chain.attest.signing import Signer
    from supply_chain.digest import Sha256

SBOM_TYPE = "https://cyclonedx.org/bom"


class BillError(BuildError):
    """A bill of materials is missing, or differs from the one that was signed or built."""

    code: ClassVar[str] = "build.bill"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """Where a bill of materials and its subject are in a release folder."""

    name: str
    subject: str
    """Path of the file that it is about."""
    product: str | None = None
    """Name of the bill as a product of a step; None for what is made beside the steps."""

    @property
    def path(self) -> str:
        """Path of the bill itself."""
        return f"sbom/{self.name}.cdx.json"

    @property
    def bundle(self) -> str:
        """Path of the bundle with the statement."""
        return f"bundles/{self.name}.sbom.sigstore.json"


DISKS = (
    Bill(name="os-image", subject="os.img", product="os-image/sbom.cdx.json"),
    Bill(name="app-disk", subject="app.img", product="app-disk/sbom.cdx.json"),
)
"""The bills of what a guest runs."""
SDK_NAME = "sdk"


def sdk_bill(wheel: str) -> Bill:
    """Return the bill of the client's wheel of that file name."""
    return Bill(name=SDK_NAME, subject=f"{SDK_NAME}/{wheel}")


def sbom_statement(subject: str, digest: Sha256, sbom: bytes) -> Statement:
    """Return the statement that a file is made up of what a bill of materials lists."""
    return Statement(
        subject=resources({subject: digest}),
        predicate_type=SBOM_TYPE,
        predicate=json.loads(sbom),
    )


def sign_bills(
    bills: Iterable[Bill], *, files: Mapping[str, Path], signer: Signer
) -> dict[str, bytes]:
    """Return the bundles of some bills by their path in the release folder.

    Args:
        bills: What to sign.
        files: The files of the release by their path in it: the bills and their subjects.
        signer: Who signs: the one who built.

    Raises:
        SigningError: The Sigstore instance refuses or is out of reach.
    """
    return {
        bill.bundle: signer.sign_statement(
            sbom_statement(
                bill.subject, sha256_file(files[bill.subject]), files[bill.path].read_bytes()
            )
        )
        for bill in bills
    }


def verify_bills(folder: Path, verified: VerifiedRelease, policy: Policy) -> tuple[str, ...]:
    """Return the subjects of the bills in a release, each compared with its step and its statement.

    Args:
        folder: The release folder, whose files are those of the verified release.
        verified: The release.
        policy: Whom to trust.

    Raises:
        BillError: One is missing, or says something else than what was built or signed.
        VerificationError: A statement is not by the policy's signer, or about another file.
    """
    found = tuple(_expected(verified))
    for bill in found:
        for path in (bill.subject, bill.path, bill.bundle):
            if path not in verified.files:
                raise BillError(
                    f"bill of materials {bill.name}: expected the file {path}, got none"
                )
        if bill.product and verified.artifacts[bill.product] != verified.files[bill.path]:
            raise BillError(f"{bill.path}: expected what the step made, got another file")
        predicate = verify_attestation(
            (folder / bill.bundle).read_bytes(),
            policy,
            predicate_type=SBOM_TYPE,
            subjects={bill.subject: verified.files[bill.subject]},
        )
        if canonical(predicate) != canonical(json.loads((folder / bill.path).read_bytes())):
            raise BillError(f"{bill.path}: expected what was signed in {bill.bundle}, got another")
    return tuple(bill.subject for bill in found)


def _expected(verified: VerifiedRelease) -> Iterable[Bill]:
    """Return the bills that must be there: of each disk that was built with one, and of wheels."""
    yield from (bill for bill in DISKS if bill.product in verified.artifacts)
    wheels = (path for path in sorted(verified.files) if path.endswith(".whl"))
    yield from (sdk_bill(path.rpartition("/")[2]) for path in wheels)
