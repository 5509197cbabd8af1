"""The checks 1 to 5 for a session, from a release's file or from a repository."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blindllama._attestor import Expectation, Verdict
from blindllama._known import known_releases
from blindllama._memory import ReleaseMemory
from blindllama.errors import UsageError, VerificationError
from blindllama.pcr import parse_pcr_index
from blindllama.policy import Policy
from blindllama.release import VerifiedRelease, verify_release
from blindllama.report import Report
from blindllama.repository import Repository

if TYPE_CHECKING:
    from datetime import datetime, timedelta

__all__ = ["ReleaseSource"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseSource:
    """Where a release and a policy come from; it can be asked again when a verdict has expired."""

    release: Path | str | bytes | Repository
    policy: Policy | Path | str | None
    memory: ReleaseMemory | None
    known: tuple[Path | str | bytes, ...]
    """Evidence files of other releases, which only explain."""
    max_evidence_age: timedelta

    @property
    def renewable(self) -> bool:
        """Whether asking again can give another answer."""
        return isinstance(self.release, Repository)

    def verdict(self, now: datetime, report: Report) -> Verdict:
        """Return what the checks 1 to 5 find at the time given.

        Raises:
            VerificationError: a check refused; `report` is on the error.
            NetworkError: the repository did not answer in time.
            UsageError: a file cannot be read.
        """
        try:
            verified, policy = self._verified(now, report)
        except VerificationError as exc:
            exc.report = exc.report or report
            raise
        return Verdict(
            release=verified,
            expectation=self._expectation(verified, policy),
            report=report,
            line=_line(policy),
        )

    def renewed(self, now: datetime) -> Verdict:
        """Return what the checks find now, with a report of its own; as `verdict`."""
        return self.verdict(now, Report(clock=time.perf_counter))

    def _verified(self, now: datetime, report: Report) -> tuple[VerifiedRelease, Policy]:
        given = None
        if self.policy is not None:
            with report.check(1):
                given = _given(self.policy)
        if isinstance(self.release, Repository):
            return self._from_repository(self.release, given, now, report)
        if given is None:
            raise UsageError("policy: only a repository has one of its own; say whom you trust")
        data = _file_bytes(self.release)
        known = self._known(given)
        verified = verify_release(data, given, now, known_sequence=known, report=report)
        return verified, given

    def _from_repository(
        self, repository: Repository, given: Policy | None, now: datetime, report: Report
    ) -> tuple[VerifiedRelease, Policy]:
        with report.check(4) as detail:
            fetched = repository.fetch(now)
            detail["repository"] = f"{fetched.listing.name} {fetched.listing.newest}"
            detail["repository expires"] = fetched.listing.expires.isoformat()
        with report.check(1):
            policy = Policy.from_bytes(fetched.policy) if given is None else given
        verified = verify_release(
            fetched.evidence,
            policy,
            now,
            known_sequence=self._known(policy),
            listing=fetched.listing,
            report=report,
        )
        return verified, policy

    def _expectation(self, release: VerifiedRelease, policy: Policy) -> Expectation:
        return Expectation(
            platform=release.platform,
            pcrs=release.expected,
            roots=frozenset(bytes.fromhex(root) for root in policy.vtpm.roots),
            allowed={
                parse_pcr_index(index): frozenset(bytes.fromhex(value) for value in values)
                for index, values in policy.vtpm.allowed.items()
            },
            issuers=policy.vtpm.issuers_der(),
            known=known_releases(self.known, policy),
            max_age=self.max_evidence_age,
        )

    def _known(self, policy: Policy) -> int | None:
        return None if self.memory is None else self.memory.newest(_line(policy))


def _given(policy: Policy | Path | str) -> Policy:
    return policy if isinstance(policy, Policy) else Policy.from_file(Path(policy))


def _file_bytes(release: Path | str | bytes) -> bytes:
    if isinstance(release, bytes):
        return release
    try:
        return Path(release).read_bytes()
    except OSError as exc:
        raise UsageError(f"release, {release}: {exc.strerror or exc}") from exc


def _line(policy: Policy) -> str:
    """Return the name under which releases are remembered: another signer is another line."""
    return f"{policy.release.name}|{policy.signer.issuer}|{policy.signer.identity}"
