"""S4 with a repository: changed bytes and mixed documents, each with its code."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from blindllama.errors import Code, VerificationError
from blindllama.release_list import RELEASES_FILE
from supply_chain.repository import index
from tests.simulators.release_repository import Publisher, publisher_of
from tests.simulators.signed_release import SignedRelease
from tests.unit.sdk.repository.conftest import refused

Releases = tuple[SignedRelease, SignedRelease]


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
