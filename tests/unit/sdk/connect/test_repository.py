"""A session whose release comes from a repository: what it is given, and when that ends."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from blindllama.errors import (
    Code,
    FreshnessError,
    NetworkError,
    PolicyError,
    UsageError,
    VerificationError,
)
from blindllama.measurements import PlatformMeasurements
from blindllama.policy import Policy
from blindllama.release_list import evidence_file
from blindllama.report import Status
from blindllama.repository import Repository
from blindllama.session import AttestedSession, verify_and_connect
from supply_chain.digest import Sha256
from supply_chain.repository import index
from tests.simulators.attested_server import WORDS
from tests.simulators.hostile_repository import repository_server
from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import PLATFORMS, SignedRelease, make_signed_release
from tests.unit.sdk.connect.conftest import Deployed, measured


@pytest.fixture
def publisher(deployed: Deployed, tmp_path: Path) -> Publisher:
    root = tmp_path / "publisher"
    root.mkdir()
    return publisher_of(root, deployed.release)


def following(
    deployed: Deployed, publisher: Publisher, platform: PlatformMeasurements
) -> SignedRelease:
    """Release 3, with what it expects of a guest."""
    return make_signed_release(
        publisher.root / "state",
        sequence=3,
        measurements={**PLATFORMS, "qemu-swtpm": platform},
        vtpm_roots=(Sha256.from_hex(deployed.guest.papers.root.hex()),),
    )


def connect(
    deployed: Deployed, repository: Repository, now: Callable[[], datetime], **changes: object
) -> AttestedSession:
    arguments: dict[str, Any] = {"release": repository, "now": now, "timeout_s": 5.0}
    return verify_and_connect(deployed.server.url, **(arguments | changes))


def refused(session: AttestedSession, deployed: Deployed, code: Code) -> VerificationError:
    """Check that a request is refused, and that none of it was sent."""
    before = deployed.server.application_bytes
    with pytest.raises(VerificationError) as caught:
        session.completion("a secret")
    assert caught.value.code is code
    assert caught.value.report is session.report
    assert session.report.failure is not None
    assert deployed.server.application_bytes == before
    return caught.value


def test_release_and_policy_come_from_the_repository(
    deployed: Deployed, publisher: Publisher
) -> None:
    with connect(deployed, publisher.client(), lambda: publisher.now) as session:
        assert session.report.passed
        assert session.completion("Once") == "".join(WORDS)
        assert session.release.sequence == 2
        detail = session.report.checks[3].detail
        assert detail["repository"] == "simulated-release 2"
        assert session.release.expires == datetime.fromisoformat(detail["repository expires"])


def test_the_callers_own_policy_is_stronger(deployed: Deployed, tmp_path: Path) -> None:
    publisher = publisher_of(tmp_path, deployed.older)
    repository = publisher.client()
    demanding = deployed.release.policy  # its lowest number is 2
    with pytest.raises(VerificationError) as caught:
        connect(deployed, repository, lambda: publisher.now, policy=demanding)
    assert caught.value.code is Code.RELEASE_BELOW_MINIMUM
    publisher.publish(deployed.release)
    connect(deployed, repository, lambda: publisher.now, policy=demanding).close()


def test_the_callers_policy_is_read_before_anything_is_fetched(
    deployed: Deployed, publisher: Publisher
) -> None:
    nowhere = Repository("http://127.0.0.1:9", root=publisher.trusted_root)
    with pytest.raises(PolicyError) as caught:
        connect(deployed, nowhere, lambda: publisher.now, policy=publisher.root / "missing.toml")
    assert caught.value.code is Code.POLICY_UNREADABLE


def test_a_file_has_no_policy_of_its_own(deployed: Deployed) -> None:
    with pytest.raises(UsageError, match="policy"):
        verify_and_connect(deployed.server.url, release=deployed.folder / "evidence.json")


@pytest.mark.parametrize("given", [True, False])
def test_s4_a_revoked_release(deployed: Deployed, publisher: Publisher, given: bool) -> None:
    index.revoke(publisher.place, 2, publisher.now)
    policy = deployed.older.policy if given else None
    with pytest.raises(VerificationError) as caught:
        connect(deployed, publisher.client(), lambda: publisher.now, policy=policy)
    assert caught.value.code is Code.RELEASE_REVOKED
    report = caught.value.report
    assert report is not None
    assert [check.status for check in report.checks[3:]] == [
        Status.FAILED,
        *[Status.NOT_RUN] * 6,
    ]
    assert deployed.server.handshakes == 0


def test_a_repository_that_is_refused_fails_check_4(
    deployed: Deployed, publisher: Publisher
) -> None:
    late = publisher.now + timedelta(days=8)
    with pytest.raises(FreshnessError) as caught:
        connect(deployed, publisher.client(), lambda: late)
    assert caught.value.code is Code.REPOSITORY_EXPIRED
    report = caught.value.report
    assert report is not None
    assert report.failure is report.checks[3]
    others = {check.status for check in report.checks if check.step != 4}
    assert others == {Status.NOT_RUN}  # the policy would have come from there
    assert deployed.server.handshakes == 0


def test_other_evidence_under_the_newest_number(deployed: Deployed, publisher: Publisher) -> None:
    documents = publisher.documents()
    documents.put(publisher.folder, evidence_file(2), deployed.older.evidence)
    documents.sign_targets(publisher.place.keys, publisher.now)
    documents.write(publisher.folder)
    with pytest.raises(VerificationError) as caught:
        connect(
            deployed,
            publisher.client(),
            lambda: publisher.now,
            policy=deployed.older.policy,  # which accepts both
        )
    assert caught.value.code is Code.RELEASE_SEQUENCE


def test_the_releases_of_another_name(deployed: Deployed, publisher: Publisher) -> None:
    release = deployed.older.policy.release.model_copy(update={"name": "another"})
    other = Policy(**deployed.older.policy.model_dump() | {"release": release.model_dump()})
    with pytest.raises(VerificationError) as caught:
        connect(deployed, publisher.client(), lambda: publisher.now, policy=other)
    assert caught.value.code is Code.RELEASE_NAME


class TestExpiry:
    """The clock moves while a session is open."""

    @pytest.fixture
    def times(self, publisher: Publisher) -> list[datetime]:
        return [publisher.now]

    @pytest.fixture
    def week(self, times: list[datetime]) -> Callable[[], None]:
        return lambda: times.append(times[-1] + timedelta(days=7, seconds=1))

    def test_the_session_ends_when_nobody_renews(
        self,
        deployed: Deployed,
        publisher: Publisher,
        times: list[datetime],
        week: Callable[[], None],
    ) -> None:
        with connect(deployed, publisher.client(), lambda: times[-1]) as session:
            session.completion("Once")
            week()
            refused(session, deployed, Code.REPOSITORY_EXPIRED)
            times.pop()
            assert session.completion("Once") == "".join(WORDS)

    def test_the_session_goes_on_when_the_repository_was_renewed(
        self,
        deployed: Deployed,
        publisher: Publisher,
        times: list[datetime],
        week: Callable[[], None],
    ) -> None:
        with connect(deployed, publisher.client(), lambda: times[-1]) as session:
            week()
            index.refresh(publisher.place, times[-1])
            assert session.completion("Once") == "".join(WORDS)
            assert session.report.passed
            assert session.release.expires == times[-1].replace(microsecond=0) + timedelta(days=7)
            assert deployed.server.attestations == 2

    def test_the_session_goes_on_with_the_newest(
        self,
        deployed: Deployed,
        publisher: Publisher,
        times: list[datetime],
        week: Callable[[], None],
    ) -> None:
        with connect(deployed, publisher.client(), lambda: times[-1]) as session:
            week()
            newer = following(deployed, publisher, measured())
            publisher.publish(newer, later=timedelta(days=7, seconds=1))
            session.completion("Once")
            assert session.release.sequence == 3

    def test_a_guest_of_the_release_before_is_refused_then(
        self, deployed: Deployed, publisher: Publisher, times: list[datetime]
    ) -> None:
        """Its evidence is two minutes old, and was about another release."""
        other = following(deployed, publisher, PLATFORMS["qemu-swtpm"])
        times.append(publisher.now + timedelta(days=7, minutes=-1))
        with connect(deployed, publisher.client(), lambda: times[-1]) as session:
            session.completion("Once")
            times.append(times[-1] + timedelta(minutes=2))
            publisher.publish(other, later=times[-1] - publisher.now)
            refused(session, deployed, Code.MEASUREMENT_MISMATCH)

    def test_what_was_revoked_meanwhile_is_refused_then(
        self,
        deployed: Deployed,
        publisher: Publisher,
        times: list[datetime],
        week: Callable[[], None],
    ) -> None:
        with connect(deployed, publisher.client(), lambda: times[-1]) as session:
            index.revoke(publisher.place, 2, publisher.now)
            assert session.completion("Once") == "".join(WORDS)  # known until the verdict ends
            week()
            index.refresh(publisher.place, times[-1])
            refused(session, deployed, Code.RELEASE_REVOKED)

    def test_an_unreachable_repository_prolongs_nothing(
        self,
        deployed: Deployed,
        publisher: Publisher,
        times: list[datetime],
        week: Callable[[], None],
    ) -> None:
        with repository_server(publisher.folder) as server:
            repository = Repository(server.url, root=publisher.trusted_root, timeout_s=5.0)
            session = connect(deployed, repository, lambda: times[-1])
        with session:
            session.completion("Once")
            week()
            error = refused(session, deployed, Code.RELEASE_EXPIRED)
            assert isinstance(error.__cause__, NetworkError)

    def test_threads_renew_once(
        self,
        deployed: Deployed,
        publisher: Publisher,
        times: list[datetime],
        week: Callable[[], None],
    ) -> None:
        with repository_server(publisher.folder) as server:
            repository = Repository(server.url, root=publisher.trusted_root)
            with connect(deployed, repository, lambda: times[-1]) as session:
                week()
                index.refresh(publisher.place, times[-1])
                server.requests.clear()
                with ThreadPoolExecutor(8) as pool:
                    answers = list(pool.map(session.completion, ["Once"] * 16))
                assert answers == ["".join(WORDS)] * 16
                assert server.requests.count("/timestamp.json") == 1
