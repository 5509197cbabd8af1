"""Steps 1 to 5 on a release that the local Sigstore signed: what is returned, what is reported."""

from __future__ import annotations

import os
import pathlib
import socket
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Never

import pytest

from blindllama.errors import Code, PolicyError, UsageError
from blindllama.measurements import PlatformName
from blindllama.policy import Policy
from blindllama.release import verify_release
from blindllama.report import Report, Status
from tests.simulators.signed_release import (
    NAME,
    PLATFORMS,
    PRODUCTS,
    SignedRelease,
)


def test_an_honest_release_is_verified(honest: SignedRelease) -> None:
    report = Report()
    release = verify_release(honest.evidence, honest.policy, honest.now, report=report)
    assert (release.name, release.sequence, release.debug) == (NAME, 1, False)
    assert release.created == honest.now
    assert release.artifacts == {name: digest.hex for name, digest in PRODUCTS.items()}
    assert release.files["os.img"] == PRODUCTS["os-image/os.img"].hex
    assert release.platform is PlatformName.QEMU_SWTPM
    assert release.expected is release.measurements[PlatformName.QEMU_SWTPM]
    assert set(release.measurements) == set(PlatformName)
    assert {str(pcr): value.hex() for pcr, value in release.expected.values.items()} == (
        PLATFORMS["qemu-swtpm"].pcrs
    )
    assert [check.status for check in report.checks] == [Status.PASSED] * 5 + [Status.NOT_RUN] * 5


def test_another_platform_is_the_callers_choice(honest: SignedRelease) -> None:
    policy = Policy(**honest.policy.model_dump() | {"platform": "azure-trusted-launch"})
    release = verify_release(honest.evidence, policy, honest.now)
    assert sorted(release.expected.values) == [4, 9, 11, 12, 13, 15]


def test_the_policys_toml_is_as_good(honest: SignedRelease) -> None:
    policy = Policy.from_bytes(honest.policy_toml.encode())
    assert verify_release(honest.evidence, policy, honest.now).sequence == 1


def test_a_time_without_a_zone_is_a_mistake(honest: SignedRelease) -> None:
    with pytest.raises(UsageError):
        verify_release(honest.evidence, honest.policy, datetime(2026, 11, 23))  # noqa: DTZ001


def test_a_trust_root_that_sigstore_cannot_use(honest: SignedRelease) -> None:
    root = '{"tlogs":[1],"certificateAuthorities":[1],"ctlogs":[1],"timestampAuthorities":[1]}'
    parts = honest.policy.model_dump()
    parts["sigstore"]["trusted_root"] = root
    report = Report()
    with pytest.raises(PolicyError) as caught:
        verify_release(honest.evidence, Policy(**parts), honest.now, report=report)
    assert caught.value.code is Code.POLICY_TRUST_ROOT
    assert caught.value.report is report
    assert report.failure is report.checks[0]


def test_nothing_is_read_and_nobody_is_asked(
    honest: SignedRelease, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """S6: neither a user's cache, nor the environment, nor the network has a say."""

    def refused(*_args: object, **_kwargs: object) -> Never:
        raise AssertionError("a file or a socket was opened")

    for variable in ("HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"):
        monkeypatch.setenv(variable, str(tmp_path))
    verify_release(honest.evidence, honest.policy, honest.now)
    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr("builtins.open", refused)
    monkeypatch.setattr(pathlib.Path, "read_bytes", refused)
    monkeypatch.setattr(os, "open", refused)
    verify_release(honest.evidence, honest.policy, honest.now)
    monkeypatch.undo()
    assert list(tmp_path.iterdir()) == []


def test_the_machines_clock_has_no_say(honest: SignedRelease) -> None:
    """The same release is refused or accepted by the time that the caller gives alone."""
    later = honest.now + timedelta(days=29)
    assert verify_release(honest.evidence, honest.policy, later).sequence == 1
    assert verify_release(honest.evidence, honest.policy, later.astimezone(UTC)).sequence == 1
