"""Identities of GitHub Actions, for rehearsals: the same certificates that a real job would get.

A job's token says which workflow was started, which reusable workflow builds, and for which commit.
Fulcio makes the identity and the extensions of a certificate from these claims, by this table.

Only the process that has started the instance can make such tokens, and only a policy that trusts
this instance's root believes them: neither GitHub's issuer nor its clients are deceived.

Source: GitHub, "OpenID Connect reference" (claims); Fulcio, "OID information" (mapping).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cryptography import x509

from supply_chain.local_sigstore.exchange import RefusedError

if TYPE_CHECKING:
    from collections.abc import Mapping

GITHUB_ISSUER = "https://token.actions.githubusercontent.com"
SITE = "https://github.com/"

_EXTENSIONS = {
    9: SITE + "{job_workflow_ref}",
    10: "{job_workflow_sha}",
    11: "{runner_environment}",
    12: SITE + "{repository}",
    13: "{sha}",
    14: "{ref}",
    15: "{repository_id}",
    16: SITE + "{repository_owner}",
    17: "{repository_owner_id}",
    18: SITE + "{workflow_ref}",
    19: "{workflow_sha}",
    20: "{event_name}",
    21: SITE + "{repository}/actions/runs/{run_id}/attempts/{run_attempt}",
    22: "{repository_visibility}",
}
"""The last number of each extension, and what it holds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRun:
    """A job on GitHub, as its token would describe it."""

    repository: str
    """Whose source is built, `OWNER/NAME`."""
    workflow: str
    """Path of the workflow that was started, in that repository."""
    ref: str
    """The full ref that it was started for."""
    commit: str
    builder: str
    """The workflow whose job signs: `OWNER/NAME/.github/workflows/FILE@REF`."""
    builder_commit: str
    run_id: int = 1
    runner: str = "github-hosted"

    @property
    def claims(self) -> dict[str, Any]:
        """The claims of its token, without those that every token has."""
        owner = self.repository.partition("/")[0]
        return {
            "sub": f"repo:{self.repository}:ref:{self.ref}",
            "event_name": "push",
            "job_workflow_ref": self.builder,
            "job_workflow_sha": self.builder_commit,
            "ref": self.ref,
            "repository": self.repository,
            "repository_id": "1",
            "repository_owner": owner,
            "repository_owner_id": "1",
            "repository_visibility": "public",
            "run_attempt": "1",
            "run_id": str(self.run_id),
            "runner_environment": self.runner,
            "sha": self.commit,
            "workflow_ref": f"{self.repository}/{self.workflow}@{self.ref}",
            "workflow_sha": self.commit,
        }


def workflow_identity(claims: Mapping[str, Any]) -> str:
    """The certificate's identity for the claims of a job's token.

    Raises:
        RefusedError: A claim is missing.
    """
    return _filled(SITE + "{job_workflow_ref}", claims)


def workflow_extensions(claims: Mapping[str, Any]) -> dict[x509.ObjectIdentifier, str]:
    """The certificate's extensions for the claims of a job's token.

    Raises:
        RefusedError: A claim is missing.
    """
    return {
        x509.ObjectIdentifier(f"1.3.6.1.4.1.57264.1.{number}"): _filled(form, claims)
        for number, form in _EXTENSIONS.items()
    }


def _filled(form: str, claims: Mapping[str, Any]) -> str:
    try:
        return form.format_map(claims)
    except KeyError as exc:
        raise RefusedError(400, f"identity token: the claim {exc} is missing") from exc
