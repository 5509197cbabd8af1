"""The verification summary in a release folder: written after the verdict, checked with the rest."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from blindllama.summary import verify_summary
from supply_chain.attest.summary import resource_uri, summary_statement, verifier_id
from supply_chain.digest import Sha256, sha256_bytes, sha256_file
from supply_chain.release import INDEX_BUNDLE, LAYOUT, REBUILDS, SUMMARY, ReleaseError
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from blindllama.policy import Policy
    from blindllama.release import VerifiedRelease
    from blindllama.summary import VerifiedSummary
    from supply_chain.attest.signing import Signer


def write_summary(
    folder: Path, verified: VerifiedRelease, *, policy: bytes, verifier: Signer, now: datetime
) -> None:
    """Add the verification summary to a release folder that has just passed.

    Args:
        folder: The release folder, already compared with the verified release.
        verified: What the client's checks returned.
        policy: The content of the policy file that was applied.
        verifier: Who signs it.
        now: When the checks were run.

    Raises:
        SigningError: the verifier cannot sign.
    """
    statement = summary_statement(
        verified,
        verifier=verifier_id(verifier.authority),
        policy=sha256_bytes(policy),
        documents=signed_documents(folder, verified),
        now=now,
    )
    replace_file(folder / SUMMARY, verifier.sign_statement(statement))


def signed_documents(folder: Path, verified: VerifiedRelease) -> dict[str, Sha256]:
    """Return the digest of every bundle, link and layout of a verified release, by its path.

    With those of the rebuilds that were added to it, which its index cannot name.
    """
    documents = {
        path: Sha256.from_hex(digest)
        for path, digest in verified.files.items()
        if path == LAYOUT or path.startswith(("bundles/", "links/"))
    }
    added = (path for path in (folder / REBUILDS).rglob("*") if path.is_file())
    documents |= {path.relative_to(folder).as_posix(): sha256_file(path) for path in added}
    return documents | {INDEX_BUNDLE: sha256_file(folder / INDEX_BUNDLE)}


def verify_folder_summary(
    folder: Path, verified: VerifiedRelease, policy: Policy, *, now: datetime
) -> VerifiedSummary | None:
    """Return the summary in a release folder; None where there is none or whom to believe is open.

    Args:
        folder: The release folder, already compared with the verified release.
        verified: What the client's checks returned.
        policy: Whose summaries to believe.
        now: The time to verify at.

    Raises:
        VerificationError: the summary is refused.
        ReleaseError: it was made from other documents than those in the folder.
    """
    path = folder / SUMMARY
    if policy.verifier is None or not path.exists():
        return None
    resource = resource_uri(verified.name, verified.sequence)
    summary = verify_summary(
        path.read_bytes(),
        verifier=policy.verifier,
        sigstore=policy.sigstore,
        resource=resource,
        artifacts=verified.artifacts,
        now=now,
        maximum_age=timedelta(days=policy.release.maximum_age_days),
    )
    seen = {
        f"{resource}/{name}": digest.hex
        for name, digest in signed_documents(folder, verified).items()
    }
    later = f"{resource}/{REBUILDS}/"
    # A rebuild may have been added since; all else that the verdict rests on was there.
    since = {name for name in seen.keys() - summary.inputs.keys() if name.startswith(later)}
    if dict(summary.inputs) != {name: seen[name] for name in seen.keys() - since}:
        raise ReleaseError(f"{SUMMARY} was made from other documents than those in {folder}")
    return summary
