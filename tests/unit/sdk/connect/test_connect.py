from __future__ import annotations

import json
import ssl
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import blindllama
from blindllama.errors import (
    ChannelBindingError,
    Code,
    FreshnessError,
    NetworkError,
    PolicyError,
    RollbackError,
    UsageError,
    VerificationError,
)
from blindllama.report import Status
from blindllama.session import AttestedSession, verify_and_connect
from tests.simulators.attested_server import WORDS, Answer
from tests.simulators.booted_guest import encode, sha256
from tests.unit.sdk.connect.conftest import Deployed


def connect(deployed: Deployed, **changes: object) -> AttestedSession:
    arguments: dict[str, Any] = {
        "release": deployed.release.evidence,
        "policy": deployed.older.policy,
        "timeout_s": 5.0,
    }
    return verify_and_connect(deployed.server.url, **(arguments | changes))


def test_all_ten_checks_and_an_answer(deployed: Deployed) -> None:
    with connect(deployed) as session:
        assert session.report.passed
        assert deployed.server.application_bytes == 0
        assert session.completion("The capital of France is") == "".join(WORDS)
        assert (session.release.sequence, deployed.server.attestations) == (2, 1)


def test_files_are_as_good_as_values(deployed: Deployed) -> None:
    release, policy = deployed.folder / "evidence.json", deployed.folder / "policy.toml"
    with connect(deployed, release=release, policy=policy) as session:
        assert session.report.passed
    with connect(deployed, release=str(release), policy=str(policy)) as session:
        assert session.report.passed


def test_the_public_name_and_the_one_at_the_root() -> None:
    import sdk  # noqa: PLC0415 - the name at the repository's root

    assert blindllama.verify_and_connect is sdk.verify_and_connect is verify_and_connect


def test_issuers_that_the_guest_leaves_out_may_be_the_policy_s(deployed: Deployed) -> None:
    papers = deployed.guest.papers
    deployed.server.attester = replace(deployed.guest, papers=replace(papers, issuers=()))
    refused(deployed, Code.AK_CHAIN_LENGTH)
    pems = [ssl.DER_cert_to_PEM_cert(der) for der in papers.issuers]
    policy = deployed.older.policy.with_issuers(pems)
    with connect(deployed, policy=policy) as session:
        assert session.report.checks[6].detail["issuers of the policy"] == "2"
        assert session.completion("hello") == "".join(WORDS)


def refused(deployed: Deployed, code: Code, **changes: object) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        connect(deployed, **changes)
    assert caught.value.code is code
    report = caught.value.report
    assert report is not None
    assert report.failure is not None
    assert report.failure.step == caught.value.step
    after = [check.status for check in report.checks[caught.value.step :]]
    assert after == [Status.NOT_RUN] * len(after)
    assert deployed.server.application_bytes == 0
    return caught.value


def test_another_build_is_refused_and_explained(deployed: Deployed) -> None:
    deployed.guest.quoter.extend(4, sha256(b"something else"))
    error = refused(deployed, Code.MEASUREMENT_MISMATCH)
    assert "PCR 4" in str(error)


def test_another_release_is_recognised(deployed: Deployed) -> None:
    """Without a log, as on Azure: only what the caller knows says what it is."""
    deployed.run_older()
    older, missing = deployed.folder / "older.json", deployed.folder / "missing.json"
    older.write_bytes(deployed.older.evidence)
    error = refused(deployed, Code.MEASUREMENT_MISMATCH, known=[missing, b"{}", older])
    assert str(error).startswith(
        "PCR 15 differs from release 2: it is that of release 1, you asked for release 2"
    )
    assert error.report is not None
    detail = error.report.checks[8].detail
    assert detail["PCR 15"] == "it is that of release 1, you asked for release 2"
    assert str(error.got) in detail["PCR 15, values"]


def test_a_release_that_nobody_signed_is_not_recognised(deployed: Deployed) -> None:
    deployed.run_older()
    document = json.loads(deployed.older.evidence)
    document["measurements"]["dsseEnvelope"]["signatures"][0]["sig"] = "AAAA"
    error = refused(deployed, Code.MEASUREMENT_MISMATCH, known=[json.dumps(document).encode()])
    assert "no explanation" in str(error)


def test_a_relay_is_refused(deployed: Deployed) -> None:
    deployed.server.answer = lambda document: Answer(body=encode({**document, "spki": "AAAA"}))
    refused(deployed, Code.EVIDENCE_KEY)


def test_a_refused_release_is_not_even_asked_for(deployed: Deployed) -> None:
    document = json.loads(deployed.release.evidence)
    document["version"] = 2
    refused(deployed, Code.FORMAT_SCHEMA, release=json.dumps(document).encode())
    assert deployed.server.handshakes == 0


def test_a_policy_that_cannot_be_read(deployed: Deployed) -> None:
    with pytest.raises(PolicyError) as caught:
        connect(deployed, policy=deployed.folder / "missing.toml")
    assert caught.value.code is Code.POLICY_UNREADABLE
    assert caught.value.report is not None
    assert caught.value.report.failure is not None


def test_a_release_that_cannot_be_read(deployed: Deployed) -> None:
    with pytest.raises(UsageError):
        connect(deployed, release=deployed.folder / "missing.json")


def test_plain_http_is_refused_before_anything(deployed: Deployed) -> None:
    with pytest.raises(ChannelBindingError) as caught:
        verify_and_connect("http://127.0.0.1:1", release=b"", policy=deployed.older.policy)
    assert caught.value.code is Code.CHANNEL_NOT_HTTPS
    assert caught.value.report is not None


def test_nobody_there(deployed: Deployed) -> None:
    deployed.server.answer = lambda _: Answer(raw=b"")
    with pytest.raises(NetworkError):
        connect(deployed)


@pytest.mark.parametrize("name", ["max_evidence_age_s", "timeout_s"])
@pytest.mark.parametrize("seconds", [0.0, -1.0, float("nan"), float("inf")])
def test_seconds_are_some_and_not_for_ever(deployed: Deployed, name: str, seconds: float) -> None:
    with pytest.raises(UsageError):
        connect(deployed, **{name: seconds})


def test_an_age_below_what_a_clock_tells(deployed: Deployed) -> None:
    with pytest.raises(UsageError, match="expected more than nothing"):
        connect(deployed, max_evidence_age_s=1e-9)


def test_s4_the_memory_of_releases(deployed: Deployed) -> None:
    memory = deployed.folder / "memory.json"
    connect(deployed, memory=memory).close()
    with pytest.raises(RollbackError) as caught:
        connect(deployed, memory=memory, release=deployed.older.evidence)
    assert caught.value.code is Code.RELEASE_BELOW_MEMORY
    assert caught.value.step == 4
    # Without a memory it comes as far as the guest, which does not run it.
    refused(deployed, Code.MEASUREMENT_MISMATCH, release=deployed.older.evidence)


def test_s4_nothing_is_remembered_of_a_refusal(deployed: Deployed) -> None:
    memory = deployed.folder / "memory.json"
    deployed.guest.quoter.extend(4, bytes(32))
    refused(deployed, Code.MEASUREMENT_MISMATCH, memory=memory)
    assert not memory.exists()


def test_s4_a_release_grows_too_old_during_the_session(deployed: Deployed) -> None:
    days = deployed.older.policy.release.maximum_age_days
    end = min(deployed.release.index.expires, deployed.release.now + timedelta(days=days))
    times = [datetime.now(UTC)]
    with connect(deployed, now=lambda: times[-1]) as session:
        session.completion("Once")
        times.append(end)
        before = deployed.server.application_bytes
        with pytest.raises(FreshnessError) as caught:
            session.completion("a secret")
        assert caught.value.code is Code.RELEASE_EXPIRED
        assert deployed.server.application_bytes == before


@pytest.mark.parametrize("size", [0, 16, 31])
def test_q3_randomness_that_is_too_short(deployed: Deployed, size: int) -> None:
    with pytest.raises(UsageError):
        connect(deployed, randomness=lambda _: bytes(size))
    assert deployed.server.attestations == 0


def test_no_file_is_left_behind(deployed: Deployed, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    connect(deployed).close()
    assert sorted(tmp_path.iterdir()) == before
