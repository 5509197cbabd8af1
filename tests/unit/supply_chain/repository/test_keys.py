"""Who can sign for a repository: the files of keys, their passphrase, and other keys from now on."""

from __future__ import annotations

import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from supply_chain.local_sigstore.keys import LocalSigstoreError
from supply_chain.repository import index
from supply_chain.repository.keys import KeyFolder, KeyRole, RepositoryError
from tests.simulators.release_repository import Publisher, publication
from tests.unit.supply_chain.repository.conftest import Releases, content


class TestKeys:
    def passphrase(self) -> bytes:
        return b"open sesame"

    def place(self, publisher: Publisher, passphrase: bytes) -> index.Place:
        keys = KeyFolder(path=publisher.root / "keys", passphrase=lambda: passphrase)
        return index.Place(folder=publisher.folder, keys=keys)

    @pytest.fixture
    def encrypted(self, tmp_path: Path) -> Publisher:
        publisher = Publisher(root=tmp_path, now=datetime.now(UTC))
        index.init(
            self.place(publisher, self.passphrase()),
            root_keys=2,
            threshold=2,
            passphrase=self.passphrase(),
            now=publisher.now,
        )
        return publisher

    def test_their_files_are_their_owners(self, publisher: Publisher) -> None:
        folder = publisher.place.keys.path
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
        assert modes == {0o600}

    def test_one_that_others_can_read_is_not_used(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        for path in publisher.place.keys.path.iterdir():
            path.chmod(0o640)
        with pytest.raises(LocalSigstoreError, match="expected mode 0600"):
            publisher.publish(releases[1])

    def test_all_but_the_online_key_are_encrypted(self, encrypted: Publisher) -> None:
        kinds = {
            path.name.partition("-")[0]: b"ENCRYPTED" in path.read_bytes()
            for path in encrypted.place.keys.path.iterdir()
        }
        assert kinds == {"root": True, "targets": True, "online": False}

    def test_a_wrong_passphrase(self, encrypted: Publisher, releases: Releases) -> None:
        place = self.place(encrypted, b"open barley")
        with pytest.raises(RepositoryError, match="the passphrase does not open this key"):
            index.publish(place, publication(releases[0]), encrypted.now)
        index.publish(
            self.place(encrypted, self.passphrase()), publication(releases[0]), encrypted.now
        )

    def test_refreshing_asks_for_none(self, encrypted: Publisher) -> None:
        index.refresh(encrypted.place, encrypted.now)

    def test_one_that_is_elsewhere(self, publisher: Publisher, releases: Releases) -> None:
        (path,) = publisher.place.keys.path.glob("targets-*.pem")
        path.rename(publisher.root / path.name)
        with pytest.raises(RepositoryError, match=f"put back {path.name}, or say with --keys"):
            publisher.publish(releases[1])

    def test_another_kind_of_key(self, publisher: Publisher, releases: Releases) -> None:
        (path,) = publisher.place.keys.path.glob("targets-*.pem")
        done = subprocess.run(
            ["openssl", "genpkey", "-algorithm", "RSA"], capture_output=True, check=True
        )
        path.write_bytes(done.stdout)
        with pytest.raises(RepositoryError, match="expected an ed25519 key"):
            publisher.publish(releases[1])


class TestRotation:
    def rotate(self, publisher: Publisher, *roles: KeyRole, keys: int = 2) -> list[Path]:
        return index.rotate_root(
            publisher.place, roles, root_keys=keys, threshold=2, passphrase=None, now=publisher.now
        )

    def test_the_keys_that_ended_are_named(self, publisher: Publisher) -> None:
        before = set(publisher.place.keys.path.iterdir())
        assert set(self.rotate(publisher, "root", "targets", "online", keys=3)) == before
        assert len(set(publisher.place.keys.path.iterdir()) - before) == 5
        for path in before:
            path.unlink()
        index.refresh(publisher.place, publisher.now)
        assert self.rotate(publisher) == []

    def test_the_root_is_signed_by_old_and_new_keys(self, publisher: Publisher) -> None:
        old = publisher.documents().root.signed.roles["root"].keyids
        self.rotate(publisher, "root")
        documents = publisher.documents()
        assert set(documents.root.signatures) == {
            *old,
            *documents.root.signed.roles["root"].keyids,
        }
        assert documents.root.signed.version == 2

    def test_too_few_of_the_old_keys(self, publisher: Publisher) -> None:
        before = content(publisher.folder)
        next(publisher.place.keys.path.glob("root-*.pem")).unlink()
        with pytest.raises(RepositoryError, match="root keys in .*; expected 2; got 1"):
            self.rotate(publisher, "root")
        assert content(publisher.folder) == before

    def test_a_root_is_prolonged_with_the_same_keys(self, publisher: Publisher) -> None:
        late = publisher.now + timedelta(days=400)  # when everything has expired
        with pytest.raises(RepositoryError, match="nothing was changed"):
            index.refresh(publisher.place, late)
        keys = publisher.documents().root.signed.keys
        index.rotate_root(publisher.place, [], root_keys=2, threshold=2, passphrase=None, now=late)
        documents = publisher.documents()
        assert documents.root.signed.keys == keys
        assert documents.root.signed.expires == late.replace(microsecond=0) + timedelta(days=365)
        assert publisher.client().fetch(late).listing.newest == 1

    def test_a_threshold_that_cannot_be_reached(self, publisher: Publisher) -> None:
        with pytest.raises(RepositoryError, match="threshold"):
            self.rotate(publisher, "root", keys=1)
