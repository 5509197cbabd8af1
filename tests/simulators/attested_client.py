"""A client's side of a simulated guest: the release, the session, and a clock that a test moves."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from blindllama._attestor import Attestor, Expectation, Verdict
from blindllama._channel import parse_origin
from blindllama.measurements import ExpectedPcrs, PlatformName
from blindllama.release import VerifiedRelease
from blindllama.report import Report
from blindllama.session import AttestedSession
from tests.simulators.ak_authority import NOW
from tests.simulators.booted_guest import expected_pcrs, sha256


@dataclass(kw_only=True)
class Clock:
    """A clock that only a test moves."""

    now: datetime = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **amount: float) -> None:
        self.now += timedelta(**amount)


@dataclass(kw_only=True)
class Stopwatch:
    """A clock that never goes back, and that only a test moves."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass(kw_only=True)
class Nonces:
    """Random bytes that are not random, and remembered."""

    count: int = 0

    def __call__(self, size: int) -> bytes:
        self.count += 1
        return sha256(b"nonce %d" % self.count)[:size]


def verified_release(expected: ExpectedPcrs | None = None) -> VerifiedRelease:
    """What the checks 1 to 5 would return for the simulated guest's release."""
    pcrs = expected_pcrs() if expected is None else expected
    return VerifiedRelease(
        name="simulated",
        sequence=3,
        created=NOW - timedelta(days=1),
        expires=NOW + timedelta(days=1),
        debug=False,
        signer="somebody",
        artifacts=MappingProxyType({}),
        files=MappingProxyType({}),
        measurements=MappingProxyType({pcrs.platform: pcrs}),
        platform=pcrs.platform,
    )


def new_session(
    url: str,
    root: bytes,
    *,
    clock: Clock | None = None,
    elapsed: Stopwatch | None = None,
    nonces: Nonces | None = None,
    platform: PlatformName = PlatformName.QEMU_SWTPM,
    expected: ExpectedPcrs | None = None,
    max_age_s: float = 300.0,
    timeout_s: float = 5.0,
    address: str | None = None,
) -> AttestedSession:
    """A session that has not attested anything yet."""
    release = verified_release(expected_pcrs(platform) if expected is None else expected)
    origin = parse_origin(url)
    expectation = Expectation(
        platform=platform,
        pcrs=release.expected,
        roots=frozenset({root}),
        allowed={},
        max_age=timedelta(seconds=max_age_s),
    )
    attestor = Attestor(
        origin,
        Verdict(
            release=release,
            expectation=expectation,
            report=Report(clock=time.perf_counter),
            line="simulated",
        ),
        clock=Clock() if clock is None else clock,
        randomness=Nonces() if nonces is None else nonces,
        timeout_s=timeout_s,
        elapsed=Stopwatch() if elapsed is None else elapsed,
    )
    return AttestedSession(origin, attestor, timeout_s=timeout_s, address=address)
