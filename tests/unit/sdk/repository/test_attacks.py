"""S4 with a repository: rollback, freeze, mixing and foreign signers, each with its code."""

from __future__ import annotations

import random
import re
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, MetaFile, Root, Timestamp
from tuf.api.serialization.json import JSONSerializer

from blindllama.errors import Code, UsageError, VerificationError
from blindllama.release_list import RELEASES_FILE, ReleaseList
from supply_chain.repository import index
from supply_chain.repository.keys import KeyRole
from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import SignedRelease
from tests.unit.sdk.repository.conftest import refused

Releases = tuple[SignedRelease, SignedRelease]
COMPACT = JSONSerializer(compact=True)


def replaced(folder: Path, other: Path) -> None:
    """The folder is another one, as if a mirror had been changed."""
    shutil.rmtree(folder)
    shutil.copytree(other, folder)


def sign(publisher: Publisher, role: str, document: Metadata[Timestamp] | Metadata[Root]) -> bytes:
    kind: KeyRole = "root" if role == "root" else "online"
    entry = publisher.documents().root.signed.roles[role]
    document.signatures.clear()
    for signer in publisher.place.keys.signers(kind, entry.keyids, least=entry.threshold):
        document.sign(signer, append=True)
    return document.to_bytes(COMPACT)


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


class TestTampering:
    @pytest.mark.parametrize("name", ["evidence.json", "policy.toml", "releases.json"])
    @pytest.mark.parametrize(
        ("change", "code"),
        [
            (lambda data: bytes([data[0] ^ 1]) + data[1:], Code.REPOSITORY_TAMPERED),
            (lambda data: data[:-1], Code.REPOSITORY_TAMPERED),
            (lambda data: data + b" ", Code.REPOSITORY_TAMPERED),
            (lambda _: b"", Code.REPOSITORY_TAMPERED),
        ],
        ids=["a bit", "shorter", "longer", "empty"],
    )
    def test_a_target(
        self, publisher: Publisher, name: str, change: Callable[[bytes], bytes], code: Code
    ) -> None:
        (path,) = (publisher.folder / "targets").rglob(f"*.{name}")
        path.write_bytes(change(path.read_bytes()))
        refused(lambda: publisher.client().fetch(publisher.now), code)

    @pytest.mark.parametrize("what", ["timestamp.json", "snapshot", "targets", "2.root.json"])
    def test_any_byte_of_any_document(self, publisher: Publisher, what: str) -> None:
        index.rotate_root(
            publisher.place,
            ["root"],
            root_keys=2,
            threshold=2,
            passphrase=None,
            now=publisher.now,
        )
        versions = {
            role: getattr(publisher.documents(), role).signed.version
            for role in ("snapshot", "targets")
        }
        path = publisher.folder / (f"{versions[what]}.{what}.json" if what in versions else what)
        allowed = {
            "timestamp.json": {Code.REPOSITORY_FORMAT, Code.REPOSITORY_SIGNATURE},
            "2.root.json": {Code.REPOSITORY_FORMAT, Code.REPOSITORY_ROOT},
        }.get(what, {Code.REPOSITORY_TAMPERED})
        honest, client = path.read_bytes(), publisher.client()
        for place in telling_places(honest):
            path.write_bytes(flipped(honest, place, 1))
            with pytest.raises(VerificationError) as caught:
                client.fetch(publisher.now)
            assert caught.value.code in allowed, (place, str(caught.value))
        path.write_bytes(honest)
        assert client.fetch(publisher.now).listing.newest == 1

    def test_any_byte_of_the_list_and_some_of_the_rest(self, publisher: Publisher) -> None:
        chance, client = random.Random(3), publisher.client()
        documents = publisher.documents()
        current = {target.hashes["sha256"] for target in documents.targets.signed.targets.values()}
        for path in (publisher.folder / "targets").rglob("*.json"):
            assert path.name.partition(".")[0] in current
        for name in (RELEASES_FILE, "policy.toml", "evidence.json"):
            (path,) = (publisher.folder / "targets").rglob(f"*.{name}")
            honest = path.read_bytes()
            places = range(len(honest))
            for place in places if len(honest) < 200 else chance.sample(places, 60):
                path.write_bytes(flipped(honest, place, 1 << chance.randrange(8)))
                refused(lambda: client.fetch(publisher.now), Code.REPOSITORY_TAMPERED)
            path.write_bytes(honest)

    def test_any_bit_of_what_is_not_hashed_says_nothing_else(self, publisher: Publisher) -> None:
        """The timestamp alone has no digest; a bit that its parser forgives changes no meaning."""
        path, chance = publisher.folder / "timestamp.json", random.Random(5)
        honest, client = path.read_bytes(), publisher.client()
        expected = client.fetch(publisher.now)
        survivors, codes = set(), set()
        for place in range(len(honest)):
            path.write_bytes(flipped(honest, place, 1 << chance.randrange(8)))
            try:
                got = client.fetch(publisher.now)
            except VerificationError as exc:
                codes.add(exc.code)
            else:
                assert got == expected
                survivors.add(honest[place : place + 1])
        assert codes == {Code.REPOSITORY_FORMAT, Code.REPOSITORY_SIGNATURE}
        # Hex digits of a signature, in upper case.
        assert survivors <= {bytes([digit]) for digit in b"abcdef"}

    def test_old_and_new_documents_do_not_mix(
        self, publisher: Publisher, releases: Releases
    ) -> None:
        old = {path.name: path.read_bytes() for path in publisher.folder.glob("*.json")}
        publisher.publish(releases[1])
        for role in ("snapshot", "targets"):
            version = getattr(publisher.documents(), role).signed.version
            path = publisher.folder / f"{version}.{role}.json"
            honest = path.read_bytes()
            path.write_bytes(old[f"{version - 1}.{role}.json"])
            refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_TAMPERED)
            path.write_bytes(honest)

    def test_a_repository_without_a_release(self, tmp_path: Path) -> None:
        empty = publisher_of(tmp_path)
        refused(lambda: empty.client().fetch(empty.now), Code.REPOSITORY_INCOMPLETE)

    @pytest.mark.parametrize(
        ("content", "code"),
        [
            (b"[]", Code.FORMAT_SCHEMA),
            (b'{"version":1,"name":"n","newest":0}', Code.FORMAT_SCHEMA),
            (b'{"version":1,"name":"n","newest":1,"newest":2}', Code.FORMAT_DUPLICATE_KEY),
            (b'{"version":1,"name":"n","newest":1,"else":2}', Code.FORMAT_SCHEMA),
        ],
    )
    def test_a_list_that_is_none(self, publisher: Publisher, content: bytes, code: Code) -> None:
        documents = publisher.documents()
        documents.put(publisher.folder, RELEASES_FILE, content)
        documents.sign_targets(publisher.place.keys, publisher.now)
        documents.write(publisher.folder)
        refused(lambda: publisher.client().fetch(publisher.now), code)

    def test_a_signed_file_that_is_too_large(self, publisher: Publisher) -> None:
        documents = publisher.documents()
        documents.put(publisher.folder, "policy.toml", bytes((1 << 20) + 1))
        documents.sign_targets(publisher.place.keys, publisher.now)
        documents.write(publisher.folder)
        refused(lambda: publisher.client().fetch(publisher.now), Code.REPOSITORY_FORMAT)


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


def telling_places(data: bytes) -> list[int]:
    """Every place that bears structure, and some inside of keys, digests and signatures."""
    inside = {
        place
        for run in re.finditer(rb"[0-9a-f]{64,}", data)
        for place in range(run.start(), run.end())
    }
    chosen = random.Random(11).sample(sorted(inside), min(len(inside), 60))
    return sorted({*range(len(data))} - inside | {*chosen})


def flipped(data: bytes, place: int, mask: int) -> bytes:
    return data[:place] + bytes([data[place] ^ mask]) + data[place + 1 :]
