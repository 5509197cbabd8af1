"""S4 with a repository: foreign signers, and keys that change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile, Root

from blindllama.errors import Code, UsageError
from blindllama.release_list import RELEASES_FILE, ReleaseList
from supply_chain.repository import index
from supply_chain.repository.keys import KeyRole
from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import SignedRelease
from tests.unit.sdk.repository.conftest import refused
from tests.unit.sdk.repository.forgery import COMPACT, replaced, sign

Releases = tuple[SignedRelease, SignedRelease]


class TestSigners:
    @pytest.fixture
    def stranger(self, tmp_path: Path, releases: Releases) -> Publisher:
        (tmp_path / "stranger").mkdir()
        return publisher_of(tmp_path / "stranger", releases[0])

    def test_a_whole_foreign_repository(self, publisher: Publisher, stranger: Publisher) -> None:
        replaced(publisher.folder, stranger.folder)
        refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_SIGNATURE)

    def test_the_root_of_somebody_else(self, publisher: Publisher, stranger: Publisher) -> None:
        foreign = publisher.client(root=stranger.trusted_root)
        refused(lambda: foreign.fetch(publisher.now), Code.REPOSITORY_SIGNATURE)

    @pytest.mark.parametrize("name", ["timestamp.json", "2.snapshot.json", "2.targets.json"])
    def test_one_foreign_document(
        self, publisher: Publisher, stranger: Publisher, name: str
    ) -> None:
        shutil.copy(stranger.folder / name, publisher.folder / name)
        code = Code.REPOSITORY_SIGNATURE if name == "timestamp.json" else Code.REPOSITORY_TAMPERED
        refused(lambda: publisher.client().fetch(publisher.now), code)

    @pytest.mark.parametrize("role", ["snapshot", "targets"])
    def test_a_foreign_document_under_the_genuine_digests(
        self, publisher: Publisher, stranger: Publisher, role: str
    ) -> None:
        """Whoever holds the online key, and for the snapshot not even that of the snapshot."""
        documents, foreign = publisher.documents(), stranger.documents()
        online = publisher.place.keys
        if role == "targets":
            documents.targets.signed = foreign.targets.signed
            documents.targets.signatures = foreign.targets.signatures
            documents.sign_snapshot(online, publisher.now)
        else:
            foreign.sign_snapshot(stranger.place.keys, publisher.now)
            documents.snapshot.signed = foreign.snapshot.signed
            documents.snapshot.signatures = foreign.snapshot.signatures
            documents.sign_timestamp(online, publisher.now)
        for path in publisher.folder.glob(f"[0-9]*.{role}.json"):
            path.unlink()
        documents.write(publisher.folder)
        refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_SIGNATURE)

    @pytest.mark.parametrize("count", [0, 1])
    def test_a_root_that_too_few_have_signed(self, publisher: Publisher, count: int) -> None:
        root = publisher.documents().root
        root.signed.version += 1
        data = sign(publisher, "root", root)
        whole = Metadata[Root].from_bytes(data)
        for keyid in list(whole.signatures)[count:]:
            del whole.signatures[keyid]
        whole.to_file(str(publisher.folder / "2.root.json"), COMPACT)
        refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_ROOT)

    def test_a_root_that_only_its_own_keys_have_signed(
        self, publisher: Publisher, stranger: Publisher
    ) -> None:
        foreign = stranger.documents().root
        foreign.signed.version = 2
        (publisher.folder / "2.root.json").write_bytes(sign(stranger, "root", foreign))
        refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_ROOT)

    def test_a_root_that_skips_a_version(self, publisher: Publisher) -> None:
        root = publisher.documents().root
        root.signed.version += 2
        (publisher.folder / "2.root.json").write_bytes(sign(publisher, "root", root))
        refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_ROOT)

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda _: b"",
            lambda _: b"[" * 5000,
            lambda data: data[:-1],
            lambda data: data.replace(b'"version":1', b'"version":2'),
            lambda data: data.replace(b'"threshold":2', b'"threshold":3'),
            lambda data: data.replace(b'"sig":"', b'"sig":"00'),
        ],
    )
    def test_a_root_of_the_callers_that_is_none(
        self, publisher: Publisher, spoil: Callable[[bytes], bytes]
    ) -> None:
        root = spoil(publisher.trusted_root.read_bytes())
        refused(lambda: publisher.client(root=root).fetch(publisher.now), Code.REPOSITORY_ROOT)

    def test_a_root_file_that_is_too_large(self, publisher: Publisher) -> None:
        publisher.trusted_root.write_bytes(bytes((1 << 16) + 1))
        with pytest.raises(UsageError, match="expected at most 65536 bytes"):
            publisher.client()

    def test_a_root_file_that_is_not_there(self, publisher: Publisher) -> None:
        with pytest.raises(UsageError, match="root of the repository"):
            publisher.client(root=publisher.root / "missing.json")


class TestRotation:
    def rotate(self, publisher: Publisher, *roles: KeyRole) -> None:
        index.rotate_root(
            publisher.place,
            roles,
            root_keys=3,
            threshold=2,
            passphrase=None,
            now=publisher.now,
        )

    def test_a_client_follows_from_its_first_root(
        self, publisher: Publisher, releases: Releases, tmp_path: Path
    ) -> None:
        memory = tmp_path / "memory"
        publisher.client(memory=memory).fetch(publisher.now)
        self.rotate(publisher, "root")
        self.rotate(publisher, "root", "targets", "online")
        publisher.publish(releases[1])
        for client in (publisher.client(memory=memory), publisher.client()):
            assert client.fetch(publisher.now).listing.newest == 2
        newest = publisher.client(root=publisher.folder / "3.root.json", memory=memory)
        assert newest.fetch(publisher.now).listing.newest == 2

    def test_whoever_hides_a_new_root_hides_nothing_that_was_seen(
        self, publisher: Publisher
    ) -> None:
        old = publisher.copy("old")
        client = publisher.client()
        self.rotate(publisher, "online")
        client.fetch(publisher.now)
        replaced(publisher.folder, old)  # signed by a key that may have leaked
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_SIGNATURE)

    def test_documents_of_ended_keys(self, publisher: Publisher) -> None:
        old = publisher.copy("old")
        self.rotate(publisher, "online")
        shutil.copy(old / "timestamp.json", publisher.folder / "timestamp.json")
        refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_SIGNATURE)

    def test_a_rollback_is_no_better_after_a_rotation(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        """Versions are forgotten with the key that signed them; the newest release is not."""
        client = publisher.client()
        publisher.publish(releases[1])
        client.fetch(publisher.now)
        self.rotate(publisher, "online")
        documents = publisher.documents()
        listed = ReleaseList(name=releases[0].index.name, newest=1)
        documents.put(publisher.folder, RELEASES_FILE, listed.to_bytes())
        documents.sign_targets(publisher.place.keys, publisher.now)
        documents.write(publisher.folder)
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)

    def test_recovery_from_a_version_that_ran_ahead(self, publisher: Publisher) -> None:
        """A leaked online key signs version 1,000,000; a new key makes clients go on."""
        client, timestamp = publisher.client(), publisher.documents().timestamp
        timestamp.signed.version = 1_000_000
        timestamp.signed.snapshot_meta = MetaFile.from_data(
            timestamp.signed.snapshot_meta.version,
            (publisher.folder / "2.snapshot.json").read_bytes(),
            ["sha256"],
        )
        honest = (publisher.folder / "timestamp.json").read_bytes()
        (publisher.folder / "timestamp.json").write_bytes(sign(publisher, "timestamp", timestamp))
        client.fetch(publisher.now)
        (publisher.folder / "timestamp.json").write_bytes(honest)
        refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_ROLLBACK)
        self.rotate(publisher, "online")
        assert client.fetch(publisher.now).listing.newest == 1
