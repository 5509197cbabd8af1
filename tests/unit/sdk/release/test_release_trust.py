"""Honest evidence under another trust, too late, or of too little: S1, S2, S4 and S6 of ATTACKS.

The signatures are genuine; what the caller trusts, remembers or expects decides.
"""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from blindllama.errors import Code
from blindllama.policy import Policy
from blindllama.release import verify_release
from tests.simulators.release_attacks import Json, refusal, wrong
from tests.simulators.signed_release import (
    PLATFORMS,
    SignedRelease,
    make_signed_release,
    platform,
)


def policy(release: SignedRelease, place: str, value: object) -> Policy:
    parts = release.policy.model_dump(exclude_none=True)
    wrong(place, value)(parts)
    return Policy(**parts)


class TestTrust:
    """S1, S2, S6: the trust is the caller's, and only the caller's."""

    def test_a_bundle_of_another_trust_root(self, honest: SignedRelease, tmp_path: Path) -> None:
        stranger = make_signed_release(tmp_path)
        root = stranger.policy.sigstore.trusted_root
        error = refusal(honest, policy(honest, "sigstore.trusted_root", root))
        assert (error.code, error.step) == (Code.BUNDLE_CERTIFICATE, 2)

    def test_a_promise_alone_where_no_stamp_is_demanded(self, honest: SignedRelease) -> None:
        verify_release(
            honest.evidence, policy(honest, "sigstore.require_timestamp", value=False), honest.now
        )

    def test_t4_more_stamps_than_anybody_needs(self, honest: SignedRelease) -> None:
        evidence = json.loads(honest.evidence)
        times = evidence["index"]["verificationMaterial"]["timestampVerificationData"]
        times["rfc3161Timestamps"] *= 33
        error = refusal(replace(honest, evidence=json.dumps(evidence).encode()))
        assert (error.code, error.step) == (Code.BUNDLE_SIGNATURE, 2)

    def test_another_issuer(self, honest: SignedRelease) -> None:
        error = refusal(honest, policy(honest, "signer.issuer", "https://issuer.example"))
        assert error.code is Code.BUNDLE_ISSUER

    def test_another_owner(self, honest: SignedRelease) -> None:
        owners = [owner.model_dump() for owner in honest.policy.layout.owners]
        more = ({"keyid": "ab" * 32, "scheme": "ed25519", "public": "cd" * 32},)
        error = refusal(honest, policy(honest, "layout.owners", (*owners, *more)))
        assert error.code is Code.LAYOUT_OWNER_MISSING

    @pytest.mark.parametrize(
        "part", ["certificateAuthorities", "tlogs", "ctlogs", "timestampAuthorities"]
    )
    @pytest.mark.parametrize(
        "window",
        [
            {"start": "2020-01-01T00:00:00Z", "end": "2021-01-01T00:00:00Z"},
            {"start": "2090-01-01T00:00:00Z"},
        ],
        ids=["long past", "yet to come"],
    )
    def test_a_key_outside_its_window(self, honest: SignedRelease, part: str, window: Json) -> None:
        """sigstore-python accepts the first kind, except for time stamps."""
        root = json.loads(honest.policy.sigstore.trusted_root)
        for entry in root[part]:
            (entry["publicKey"] if part in {"tlogs", "ctlogs"} else entry)["validFor"] = window
        error = refusal(honest, policy(honest, "sigstore.trusted_root", json.dumps(root)))
        assert (error.code, error.step) == (Code.BUNDLE_OUTSIDE_VALIDITY, 2)

    @pytest.mark.parametrize(
        "window",
        [
            {"start": "yesterday"},
            {"start": "2020-01-01"},
            {"end": 1},
            {"start": "2020-01-01T00:00:00Z", "End": "2021-01-01T00:00:00Z"},
            "2020",
        ],
    )
    def test_a_window_that_is_none(self, honest: SignedRelease, window: object) -> None:
        root = json.loads(honest.policy.sigstore.trusted_root)
        root["tlogs"][0]["publicKey"]["validFor"] = window
        error = refusal(honest, policy(honest, "sigstore.trusted_root", json.dumps(root)))
        assert (error.code, error.step) == (Code.POLICY_TRUST_ROOT, 1)


class TestFreshness:
    """S4: rollback, freeze, and what was taken back."""

    def test_below_the_policys_minimum(self, honest: SignedRelease) -> None:
        error = refusal(honest, policy(honest, "release.minimum_sequence", 2))
        assert (error.code, error.step) == (Code.RELEASE_BELOW_MINIMUM, 4)

    def test_below_what_was_accepted_before(self, honest: SignedRelease) -> None:
        assert refusal(honest, known_sequence=2).code is Code.RELEASE_BELOW_MEMORY

    @pytest.mark.parametrize("known", [None, 0, 1])
    def test_not_below(self, honest: SignedRelease, known: int | None) -> None:
        verify_release(honest.evidence, honest.policy, honest.now, known_sequence=known)

    def test_expired(self, honest: SignedRelease) -> None:
        late = honest.now + timedelta(days=30)
        assert refusal(honest, now=late).code is Code.RELEASE_EXPIRED

    def test_too_old_although_it_never_expires(self, state: Path) -> None:
        frozen = make_signed_release(state, lifetime=timedelta(days=300))
        late = frozen.now + timedelta(days=30, seconds=1)
        assert refusal(frozen, now=late).code is Code.RELEASE_TOO_OLD

    def test_made_in_the_future(self, honest: SignedRelease) -> None:
        early = honest.now - timedelta(minutes=6)
        assert refusal(honest, now=early).code is Code.RELEASE_NOT_YET
        verify_release(honest.evidence, honest.policy, honest.now - timedelta(minutes=4))

    def test_the_layout_has_expired(self, state: Path) -> None:
        stale = make_signed_release(state, layout_lifetime=timedelta(days=2))
        error = refusal(stale, now=stale.now + timedelta(days=2))
        assert (error.code, error.step) == (Code.LAYOUT_EXPIRED, 3)

    @pytest.mark.parametrize(
        ("days", "layout_days", "age_days", "end"),
        [(5, 9, 7, 5), (9, 5, 7, 5), (9, 7, 5, 5)],
        ids=["its own expiry", "the layout's", "the policy's greatest age"],
    )
    def test_the_verdict_ends_with_the_first_of_three(
        self, state: Path, days: int, layout_days: int, age_days: int, end: int
    ) -> None:
        release = make_signed_release(
            state, lifetime=timedelta(days=days), layout_lifetime=timedelta(days=layout_days)
        )
        accepting = policy(release, "release.maximum_age_days", age_days)
        verified = verify_release(release.evidence, accepting, release.now)
        assert verified.expires == release.now + timedelta(days=end)

    def test_revoked_by_itself(self, state: Path) -> None:
        assert refusal(make_signed_release(state, revoked=(1,))).code is Code.RELEASE_REVOKED

    def test_revoked_by_the_caller(self, honest: SignedRelease) -> None:
        error = refusal(honest, policy(honest, "release.revoked", (1,)))
        assert error.code is Code.RELEASE_REVOKED

    def test_a_debug_image(self, state: Path) -> None:
        debug = make_signed_release(state, debug=True)
        error = refusal(debug)
        assert (error.code, error.step) == (Code.RELEASE_DEBUG, 4)
        accepting = policy(debug, "debug_images", value=True)
        assert verify_release(debug.evidence, accepting, debug.now).debug


class TestExpected:
    """Step 5: only what the measurements say, and enough of it."""

    def test_a_platform_that_was_not_measured(self, state: Path) -> None:
        release = make_signed_release(
            state, measurements={"azure-trusted-launch": PLATFORMS["azure-trusted-launch"]}
        )
        error = refusal(release)
        assert (error.code, error.step) == (Code.EXPECTED_PLATFORM, 5)

    @pytest.mark.parametrize("left_out", [0, 12, 15])
    def test_a_register_without_a_value(self, state: Path, left_out: int) -> None:
        pcrs = [p for p in (0, 1, 2, 3, 4, 5, 7, 9, 11, 12, 13, 15) if p != left_out]
        error = refusal(make_signed_release(state, measurements={"qemu-swtpm": platform(pcrs)}))
        assert (error.code, error.step) == (Code.EXPECTED_PCRS, 5)

    def test_a_platform_of_the_future_is_ignored(self, state: Path) -> None:
        platforms = {**PLATFORMS, "moon-base": PLATFORMS["qemu-swtpm"]}
        release = make_signed_release(state, measurements=platforms)
        verified = verify_release(release.evidence, release.policy, release.now)
        assert {name.value for name in verified.measurements} == PLATFORMS.keys()
