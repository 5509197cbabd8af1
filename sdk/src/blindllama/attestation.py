"""What else the signer of a release has stated about its files, such as a bill of materials.

A client needs none of this to talk to a server; an auditor does. The checks are those of step 2:
signature, signer, type, and that the statement is about the files in question and no others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from blindllama._release.bundle import BundleVerifier, Signer
from blindllama._release.statement import verify_statement
from blindllama._release.trust import trust_root
from blindllama._strict_json import parse_json
from blindllama.errors import Code, ProvenanceError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import JsonValue

    from blindllama.measurements import Sha256Hex
    from blindllama.policy import Policy

__all__ = ["BUNDLE_LIMIT", "verify_attestation"]

BUNDLE_LIMIT = 4 << 20
"""Most bytes of a bundle; a bill of materials of an operating system has about 150 KiB."""


def verify_attestation(
    bundle: bytes, policy: Policy, *, predicate_type: str, subjects: Mapping[str, Sha256Hex]
) -> JsonValue:
    """Return the predicate of a statement that the policy's signer has made about these files.

    Args:
        bundle: A Sigstore bundle, as JSON.
        policy: Whom the caller trusts.
        predicate_type: What kind of statement it must be.
        subjects: Name and SHA-256 of all that it must be about.

    Raises:
        ProvenanceError: `bundle.*` or `statement.*`.
        FormatError: `format.*` when the bundle or the statement is not strict JSON.
    """
    document = parse_json(bundle, limit=BUNDLE_LIMIT, step=2, what="Sigstore bundle")
    verifier = BundleVerifier(
        trust=trust_root(policy.sigstore.trusted_root), require=policy.sigstore
    )
    signer = Signer(
        issuer=policy.signer.issuer, identity=policy.signer.identity, github=policy.signer.github
    )
    statement = verify_statement(
        document, predicate_type=predicate_type, signer=signer, bundles=verifier
    )
    if statement.subjects != dict(subjects):
        raise ProvenanceError(
            "subjects of a statement",
            code=Code.STATEMENT_SUBJECT,
            step=2,
            expected=dict(subjects),
            got=dict(statement.subjects),
        )
    return statement.predicate
