"""S4 with a repository: rollback and freeze, each with its code."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from blindllama.errors import Code
from blindllama.release_list import RELEASES_FILE, ReleaseList
from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import SignedRelease
from tests.unit.sdk.repository.conftest import refused
from tests.unit.sdk.repository.forgery import replaced, sign

Releases = tuple[SignedRelease, SignedRelease]


class TestRollback:
    def test_the_whole_repository_of_yesterday(
        self, publisher: Publisher, releases: Releases, tmp_path: Path
    ) -> None:
        old = publisher.copy("old")
        publisher.publish(releases[1])
        client = publisher.client(memory=tmp_path / "memory")
        assert client.fetch(publisher.now).listing.newest == 2
        replaced(publisher.folder, old)
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)

    def test_the_memory_is_shared_by_clients(
        self, publisher: Publisher, releases: Releases, tmp_path: Path
    ) -> None:
        old = publisher.copy("old")
        publisher.publish(releases[1])
        memory = tmp_path / "memory"
        publisher.client(memory=memory).fetch(publisher.now)
        replaced(publisher.folder, old)
        again = publisher.client(memory=memory)
        refused(lambda: again.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)
        # The limit that docs/repository.md states: who remembers nothing cannot know better.
        assert publisher.client().fetch(publisher.now).listing.newest == 1

    def test_one_client_remembers_without_a_folder(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        old = publisher.copy("old")
        publisher.publish(releases[1])
        client = publisher.client()
        client.fetch(publisher.now)
        replaced(publisher.folder, old)
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)

    def test_an_expired_memory_protects_as_well(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        old = publisher.copy("old")
        publisher.publish(releases[1])
        client = publisher.client()
        client.fetch(publisher.now)
        replaced(publisher.folder, old)
        late = publisher.now + timedelta(days=8)
        refused(lambda: client.fetch(late), Code.REPOSITORY_ROLLBACK)

    def test_a_new_timestamp_of_an_old_snapshot(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        """Whoever holds the online key alone."""
        old = publisher.documents()
        publisher.publish(releases[1])
        client = publisher.client()
        client.fetch(publisher.now)
        timestamp = publisher.documents().timestamp
        timestamp.signed.version += 1
        timestamp.signed.snapshot_meta = old.timestamp.signed.snapshot_meta
        (publisher.folder / "timestamp.json").write_bytes(sign(publisher, "timestamp", timestamp))
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)

    def test_a_new_snapshot_of_old_targets(self, publisher: Publisher, releases: Releases) -> None:
        """Whoever holds the online key alone."""
        old = publisher.documents()
        publisher.publish(releases[1])
        client = publisher.client()
        client.fetch(publisher.now)
        new = publisher.documents()
        new.targets.signed = old.targets.signed
        new.targets.signatures = old.targets.signatures
        new.sign_snapshot(publisher.place.keys, publisher.now)
        new.write(publisher.folder)
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)

    def test_a_lower_number_in_a_list_that_was_validly_signed(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        """A publisher who goes back: new versions of everything, and an older release."""
        publisher.publish(releases[1])
        client = publisher.client()
        client.fetch(publisher.now)
        documents = publisher.documents()
        listed = ReleaseList(name=releases[0].index.name, newest=1)
        documents.put(publisher.folder, RELEASES_FILE, listed.to_bytes())
        documents.sign_targets(publisher.place.keys, publisher.now)
        documents.write(publisher.folder)
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)

    def test_the_releases_of_another_product(self, publisher: Publisher) -> None:
        client = publisher.client()
        client.fetch(publisher.now)
        documents = publisher.documents()
        listed = ReleaseList(name="another product", newest=1)
        documents.put(publisher.folder, RELEASES_FILE, listed.to_bytes())
        documents.sign_targets(publisher.place.keys, publisher.now)
        documents.write(publisher.folder)
        refused(lambda: client.fetch(publisher.now), Code.RELEASE_NAME)

    def test_what_was_verified_is_remembered_of_a_refusal(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        """Somebody shows the newest timestamp, breaks what follows, and then goes back."""
        old = publisher.copy("old")
        client = publisher.client()
        publisher.publish(releases[1])
        version = publisher.documents().targets.signed.version
        (publisher.folder / f"{version}.targets.json").write_bytes(b"{}")
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_TAMPERED)
        replaced(publisher.folder, old)
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)


class TestFreeze:
    def test_a_timestamp_that_nobody_has_renewed(self, publisher: Publisher) -> None:
        client = publisher.client()
        fetched = client.fetch(publisher.now)
        assert fetched.listing.expires == publisher.now.replace(microsecond=0) + timedelta(days=7)
        just_before = fetched.listing.expires - timedelta(seconds=1)
        assert client.fetch(just_before).listing == fetched.listing
        refused(lambda: client.fetch(fetched.listing.expires), Code.REPOSITORY_EXPIRED)

    @pytest.mark.parametrize("role", ["root", "targets", "snapshot", "timestamp"])
    def test_each_document_ends(
        self, tmp_path: Path, releases: Releases, monkeypatch: pytest.MonkeyPatch, role: str
    ) -> None:
        monkeypatch.setattr(f"supply_chain.repository.documents.{role.upper()}_DAYS", 2)
        monkeypatch.setattr("supply_chain.repository.documents._SNAPSHOT_RENEW_DAYS", 0)
        publisher = publisher_of(tmp_path, releases[0])
        end = publisher.now.replace(microsecond=0) + timedelta(days=2)
        assert publisher.client().fetch(publisher.now).listing.expires == end
        error = refused(lambda: publisher.client().fetch(end), Code.REPOSITORY_EXPIRED)
        assert f"{role}" in str(error)

    def test_a_clock_that_runs_ahead_is_the_callers_own(self, publisher: Publisher) -> None:
        client = publisher.client()
        refused(lambda: client.fetch(publisher.now + timedelta(days=400)), Code.REPOSITORY_EXPIRED)
        assert client.fetch(publisher.now).listing.newest == 1
