from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from blindllama.errors import Code, VerificationError
from blindllama.release_list import RELEASES_FILE, ReleaseList
from supply_chain.repository import index
from supply_chain.repository.documents import Documents
from supply_chain.repository.keys import RepositoryError
from tests.simulators.release_repository import SIGNING_CONFIG, Publisher, publication
from tests.simulators.signed_release import NAME, make_signed_release
from tests.unit.supply_chain.repository.conftest import Releases, content


def test_what_a_repository_holds(publisher: Publisher, releases: Releases) -> None:
    names = {
        name.rpartition("/")[0] + "/" + name.rpartition("/")[2].partition(".")[2]
        if name.startswith("targets/")
        else name
        for name in content(publisher.folder)
    }
    assert names == {
        *("1.root.json", "timestamp.json"),
        *("1.snapshot.json", "2.snapshot.json", "1.targets.json", "2.targets.json"),
        *("targets/releases.json", "targets/policy.toml", "targets/1/evidence.json"),
        *("targets/trusted_root.json", "targets/signing_config.v0.2.json"),
    }
    documents = publisher.documents()
    assert documents.get(publisher.folder, index.SIGNING_CONFIG) == SIGNING_CONFIG
    trusted = documents.get(publisher.folder, index.TRUSTED_ROOT)
    assert trusted is not None
    assert trusted.decode() == releases[0].policy.sigstore.trusted_root
    root = documents.root.signed
    assert (root.roles["root"].threshold, len(root.roles["root"].keyids)) == (2, 2)
    # Nobody's key does two things, but the one that has to sign twice unattended.
    sets = {role: frozenset(entry.keyids) for role, entry in root.roles.items()}
    assert sets["snapshot"] == sets["timestamp"]
    assert len(sets["root"] | sets["targets"] | sets["timestamp"]) == 4


def test_a_second_repository_in_the_same_place(publisher: Publisher) -> None:
    before = content(publisher.folder)
    with pytest.raises(RepositoryError, match="is there already.*index.rotate-root"):
        publisher.init()
    assert content(publisher.folder) == before


@pytest.mark.parametrize(("keys", "threshold"), [(1, 2), (2, 0), (0, 0)])
def test_a_threshold_that_cannot_be_reached(tmp_path: Path, keys: int, threshold: int) -> None:
    publisher = Publisher(root=tmp_path, now=datetime.now(UTC))
    with pytest.raises(RepositoryError, match="threshold"):
        publisher.init(root_keys=keys, threshold=threshold)
    assert not publisher.folder.exists()


class TestPublish:
    def test_the_same_again(self, publisher: Publisher, releases: Releases) -> None:
        publisher.publish(releases[0])
        assert publisher.client().fetch(publisher.now).listing.newest == 1

    def test_an_older_one(self, publisher: Publisher, releases: Releases) -> None:
        publisher.publish(releases[1])
        before = content(publisher.folder)
        with pytest.raises(RepositoryError, match="release 1 is older than 2"):
            publisher.publish(releases[0])
        assert content(publisher.folder) == before

    def test_another_one_with_the_same_number(self, publisher: Publisher, tmp_path: Path) -> None:
        other = make_signed_release(tmp_path / "state", sequence=1)
        with pytest.raises(RepositoryError, match="another release 1 was published here"):
            publisher.publish(other)

    def test_more_evidence_for_the_same_release(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        """Statements of rebuilders come after the release."""
        more = json.dumps(json.loads(releases[0].evidence), indent=1).encode()
        assert more != releases[0].evidence
        index.publish(
            publisher.place, replace(publication(releases[0]), evidence=more), publisher.now
        )
        assert publisher.client().fetch(publisher.now).evidence == more

    def test_another_product(self, publisher: Publisher, releases: Releases) -> None:
        documents = publisher.documents()
        listed = ReleaseList(name="another", newest=1)
        documents.put(publisher.folder, RELEASES_FILE, listed.to_bytes())
        documents.sign_targets(publisher.place.keys, publisher.now)
        documents.write(publisher.folder)
        with pytest.raises(RepositoryError, match=f"expected another; got {NAME}"):
            publisher.publish(releases[1])

    def test_a_revoked_one(self, publisher: Publisher, releases: Releases) -> None:
        index.revoke(publisher.place, 1, publisher.now)
        with pytest.raises(RepositoryError, match="release 1 was revoked"):
            publisher.publish(releases[0])
        publisher.publish(releases[1])
        listing = publisher.client().fetch(publisher.now).listing
        assert (listing.newest, listing.revoked) == (2, frozenset({1}))

    def test_one_that_does_not_pass_its_policy(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        made = replace(publication(releases[0]), policy=releases[1].policy)
        before = content(publisher.folder)
        with pytest.raises(VerificationError) as caught:
            index.publish(publisher.place, made, publisher.now)
        assert caught.value.code is Code.RELEASE_BELOW_MINIMUM
        assert content(publisher.folder) == before

    def test_without_a_repository(self, tmp_path: Path, releases: Releases) -> None:
        publisher = Publisher(root=tmp_path, now=datetime.now(UTC))
        with pytest.raises(RepositoryError, match="make one: invoke index.init"):
            publisher.publish(releases[0])

    def test_to_a_damaged_repository(self, publisher: Publisher, releases: Releases) -> None:
        path = publisher.folder / "2.targets.json"
        path.write_bytes(path.read_bytes().replace(b'"version":2', b'"version":3'))
        with pytest.raises(RepositoryError, match="put the repository back from a copy"):
            publisher.publish(releases[1])

    def test_what_clients_would_refuse_is_not_put_in_place(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        """The root has expired, which only another root can change."""
        before = content(publisher.folder)
        late = publisher.now + timedelta(days=366)
        with pytest.raises(RepositoryError, match="nothing was changed.*index.rotate-root"):
            index.refresh(publisher.place, late)
        assert content(publisher.folder) == before

    def test_two_runs_at_once(self, publisher: Publisher, releases: Releases) -> None:
        errors: list[Exception] = []

        def run(task: object, *arguments: object) -> None:
            try:
                assert callable(task)
                task(publisher.place, *arguments)
            except Exception as exc:  # noqa: BLE001 - shown below
                errors.append(exc)

        runs = [
            (index.refresh, publisher.now),
            (index.publish, publication(releases[1]), publisher.now),
            (index.refresh, publisher.now),
        ]
        threads = [threading.Thread(target=run, args=arguments) for arguments in runs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert errors == []
        assert publisher.client().fetch(publisher.now).listing.newest == 2
        assert publisher.documents().timestamp.signed.version == 5


class TestRefresh:
    def test_the_online_key_is_enough(self, publisher: Publisher) -> None:
        for path in publisher.place.keys.path.iterdir():
            if not path.name.startswith("online"):
                path.unlink()
        later = publisher.now + timedelta(days=6)
        index.refresh(publisher.place, later)
        end = publisher.client().fetch(later).listing.expires
        assert end == later.replace(microsecond=0) + timedelta(days=7)

    def test_the_snapshot_is_renewed_before_it_ends(self, publisher: Publisher) -> None:
        for days in (6, 12, 18, 24, 30, 36):
            later = publisher.now + timedelta(days=days)
            index.refresh(publisher.place, later)
            assert publisher.client().fetch(later).listing.newest == 1
        assert publisher.documents().snapshot.signed.version == 3

    def test_what_needs_an_offline_key_is_said_in_time(self, publisher: Publisher) -> None:
        assert index.soon(publisher.place, publisher.now) == []
        (targets,) = index.soon(publisher.place, publisher.now + timedelta(days=70))
        assert "index.publish" in targets
        root, _ = index.soon(publisher.place, publisher.now + timedelta(days=340))
        assert "index.rotate-root --roles none" in root


class TestRevoke:
    @pytest.mark.parametrize("sequence", [2, 7])
    def test_what_was_never_published(self, publisher: Publisher, sequence: int) -> None:
        with pytest.raises(RepositoryError, match="never published"):
            index.revoke(publisher.place, sequence, publisher.now)

    def test_twice(self, publisher: Publisher) -> None:
        index.revoke(publisher.place, 1, publisher.now)
        with pytest.raises(RepositoryError, match="revoked already"):
            index.revoke(publisher.place, 1, publisher.now)


def test_documents_are_compact_json(publisher: Publisher) -> None:
    """No byte in them without a meaning, so that any changed byte is noticed."""
    for path in publisher.folder.glob("*.json"):
        text = path.read_text()
        assert json.dumps(json.loads(text), separators=(",", ":"), sort_keys=True) == text
    assert Documents.read(publisher.folder).root.signed.consistent_snapshot
