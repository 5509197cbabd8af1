"""Steps 6 to 10 for each connection: the gate that asks for evidence when it has none.

Evidence is asked for on the connection that it is about. So a second replica with another key
behind the same name is no special case (it attests itself, or is refused), and neither is a guest
that has restarted. Keys that were attested recently are remembered, and any connection to their
holder is admitted until the evidence is too old.
"""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from blindllama._channel import Origin, peer_spki, request_evidence
from blindllama._known import release_name
from blindllama._tpm.nonce_tree import NONCE_SIZE_BYTES
from blindllama.errors import (
    Code,
    FreshnessError,
    NetworkError,
    UsageError,
    VerificationError,
)
from blindllama.explain import KnownRelease
from blindllama.measurements import ExpectedPcrs, PlatformName
from blindllama.release import VerifiedRelease
from blindllama.report import Report
from blindllama.verify import VerifiedEvidence, verify_evidence

__all__ = ["Attestor", "Expectation", "Verdict"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectation:
    """What a guest must prove, all of it from the policy and from the verified release."""

    platform: PlatformName
    pcrs: ExpectedPcrs
    roots: frozenset[bytes]
    """SHA-256 fingerprints of the platform roots that the caller accepts."""
    allowed: Mapping[int, frozenset[bytes]]
    """Values of the platform's firmware that the caller adds to the known ones."""
    issuers: Sequence[bytes] = ()
    """DER of issuers of attestation keys that the caller knows; trusted for nothing."""
    max_age: timedelta
    """How long evidence is good for."""
    known: Callable[[], Sequence[KnownRelease]] = tuple
    """Other releases, to recognise one of them in a mismatch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the checks 1 to 5 have found, and what follows for a guest."""

    release: VerifiedRelease
    """After its `expires`, nothing is admitted: a session must not outlive its release."""
    expectation: Expectation
    report: Report
    """Holds the checks 1 to 5."""
    line: str
    """Name under which releases of this signer are remembered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attested:
    """What is remembered of a key."""

    evidence: VerifiedEvidence
    asked_at: float
    """Seconds of the clock that never goes back, when its evidence was asked for."""


class Attestor:
    """A gate for connections; it may be used from several threads at once."""

    def __init__(
        self,
        origin: Origin,
        verdict: Verdict,
        *,
        clock: Callable[[], datetime],
        randomness: Callable[[int], bytes],
        timeout_s: float,
        elapsed: Callable[[], float],
        renew: Callable[[datetime], Verdict] | None = None,
    ) -> None:
        """Know no key yet.

        Args:
            origin: The guest.
            verdict: What was found about its release.
            clock: Asked at each request.
            randomness: Where nonces come from.
            timeout_s: Seconds for one exchange of evidence.
            elapsed: Counts seconds and never goes back. Evidence is too old when either clock says
                so: this one stops while some machines sleep, the other one can be set back.
            renew: Does the checks 1 to 5 again at the time given; where there is none, the session
                ends with the verdict.
        """
        if verdict.expectation.max_age <= timedelta(0):
            raise UsageError("age of evidence; expected more than nothing")
        self._origin = origin
        self._verdict = verdict
        self._renew = renew
        self._clock = clock
        self._randomness = randomness
        self._timeout_s = timeout_s
        self._elapsed = elapsed
        self._lock = threading.Lock()
        self._verified: dict[bytes, _Attested] = {}
        self._report = verdict.report

    @property
    def release(self) -> VerifiedRelease:
        """The release that guests must run: the newest, where it can be renewed."""
        return self._verdict.release

    @property
    def report(self) -> Report:
        """The ten checks of the latest attestation, whether it was accepted or not."""
        return self._report

    def admit(self, connection: ssl.SSLSocket) -> bool:
        """Admit a connection to a verified guest, verifying it first where that is due.

        Returns:
            False when the peer was verified but closed the connection after its evidence.

        Raises:
            VerificationError: the peer is not what the caller expects.
            NetworkError: the peer did not answer.
        """
        spki = peer_spki(connection)
        self._check_release()
        if self._is_fresh(spki):
            return True
        # One quote at a time: threads that wait here find the key verified afterwards.
        # None waits longer than for an exchange of its own, however many stand before it.
        if not self._lock.acquire(timeout=self._timeout_s):
            raise NetworkError("evidence: the server keeps another request for it waiting")
        try:
            return self._is_fresh(spki) or self._attest(connection, spki)
        finally:
            self._lock.release()

    def reported(self, error: VerificationError) -> VerificationError:
        """Return the error with a report: it may come from outside the numbered checks."""
        if error.report is None:
            self._report = _resumed(self._verdict.report)
            with contextlib.suppress(VerificationError), self._report.check(error.step):
                raise error
        return error

    def _attest(self, connection: ssl.SSLSocket, spki: bytes) -> bool:
        report = _resumed(self._verdict.report)
        self._report = report
        self._verified = {key: one for key, one in self._verified.items() if self._is_fresh(key)}
        asked_at = self._elapsed()
        with report.check(6) as detail:
            nonce = self._new_nonce()
            detail["nonce"] = nonce.hex()
            document, reusable = request_evidence(
                connection, self._origin, nonce, timeout_s=self._timeout_s
            )
        verified = verify_evidence(
            document,
            expected=self._verdict.expectation.pcrs,
            platform=self._verdict.expectation.platform,
            roots=self._verdict.expectation.roots,
            nonce=nonce,
            spki=spki,
            now=self._clock(),
            allowed=self._verdict.expectation.allowed,
            issuers=self._verdict.expectation.issuers,
            report=report,
            release=release_name(self._verdict.release),
            known=self._verdict.expectation.known,
        )
        with report.check(10) as detail:
            # The quote names this very peer's key: `spki` went into what was verified.
            detail["peer"] = self._origin.authority
            detail["key"] = f"sha256:{hashlib.sha256(spki).hexdigest()}"
            detail["tls"] = str(connection.version())
            detail["evidence good for"] = str(self._verdict.expectation.max_age)
        self._verified[spki] = _Attested(evidence=verified, asked_at=asked_at)
        return reusable

    def _is_fresh(self, spki: bytes) -> bool:
        attested = self._verified.get(spki)
        if attested is None:
            return False
        ages = (
            self._clock() - attested.evidence.verified_at,
            timedelta(seconds=self._elapsed() - attested.asked_at),
        )
        # A clock that went back says nothing about age, so such evidence is renewed too.
        return all(timedelta(0) <= age < self._verdict.expectation.max_age for age in ages)

    def _check_release(self) -> None:
        if self._clock() < self._verdict.release.expires:
            return
        with self._lock:
            now = self._clock()
            # Threads that waited here find it renewed.
            if now < self._verdict.release.expires:
                return
            verdict = self._renewed(now)
            # It may be another release, which guests have yet to prove: forgotten first, since
            # other threads look without the lock.
            self._verified.clear()
            self._verdict = verdict

    def _renewed(self, now: datetime) -> Verdict:
        expired = FreshnessError(
            "verdict about the release, which expired during the session",
            code=Code.RELEASE_EXPIRED,
            step=4,
            expected=f"after {now.isoformat()}",
            got=self._verdict.release.expires.isoformat(),
        )
        if self._renew is None:
            raise expired
        try:
            return self._renew(now)
        except NetworkError as exc:
            # Whoever cuts off the repository must not prolong what has expired.
            raise expired from exc
        except VerificationError as exc:
            self._report = self._report if exc.report is None else exc.report
            raise

    def _new_nonce(self) -> bytes:
        nonce = self._randomness(NONCE_SIZE_BYTES)
        if len(nonce) != NONCE_SIZE_BYTES:
            raise UsageError(f"source of randomness; expected 32 bytes; got {len(nonce)}")
        return nonce


def _resumed(report: Report) -> Report:
    """Return a new report that starts after the checks of the release."""
    checks = (*report.checks[:5], *Report().checks[5:])
    return Report(clock=report.clock, _checks={check.step: check for check in checks})
