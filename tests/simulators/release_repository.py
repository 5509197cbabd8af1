"""A real repository with real releases in it, and a publisher who can be made an adversary.

Everything is made by the modules that a publisher runs. An attack changes the folder afterwards,
or signs with the publisher's own keys what an honest publisher would not.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from blindllama.repository import Repository
from supply_chain.local_sigstore.trust_root import signing_config
from supply_chain.repository import index
from supply_chain.repository.documents import Documents
from supply_chain.repository.keys import KeyFolder
from tests.simulators.signed_release import SignedRelease

SIGNING_CONFIG = json.dumps(signing_config("http://127.0.0.1:9")).encode()


def no_passphrase() -> bytes:
    raise AssertionError("no key here is encrypted")


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """Whoever has the keys, in a folder of the test."""

    root: Path
    """Holds the repository, its keys, and the copies that a test makes."""
    now: datetime

    @property
    def place(self) -> index.Place:
        keys = KeyFolder(path=self.root / "keys", passphrase=no_passphrase)
        return index.Place(folder=self.root / "repository", keys=keys)

    @property
    def folder(self) -> Path:
        return self.place.folder

    def init(self, *, root_keys: int = 2, threshold: int = 2) -> None:
        index.init(
            self.place, root_keys=root_keys, threshold=threshold, passphrase=None, now=self.now
        )
        shutil.copy(self.folder / "1.root.json", self.trusted_root)

    @property
    def trusted_root(self) -> Path:
        """The root as clients were given it at first."""
        return self.root / "1.root.json"

    def publish(self, release: SignedRelease, *, later: timedelta = timedelta()) -> None:
        index.publish(self.place, publication(release), self.now + later)

    def copy(self, name: str) -> Path:
        """Keep the repository as it stands, as somebody in between might."""
        return shutil.copytree(self.folder, self.root / name)

    def client(self, *, memory: Path | None = None, root: Path | bytes | None = None) -> Repository:
        """A client of the folder."""
        trusted = self.trusted_root if root is None else root
        return Repository(self.folder, root=trusted, memory=memory)

    def documents(self) -> Documents:
        return Documents.read(self.folder)


def publication(release: SignedRelease) -> index.Publication:
    """What the publisher hands out with a release."""
    return index.Publication(
        evidence=release.evidence, policy=release.policy, signing_config=SIGNING_CONFIG
    )


def publisher_of(root: Path, *releases: SignedRelease) -> Publisher:
    """A publisher whose repository holds the releases, published one after another."""
    publisher = Publisher(root=root, now=datetime.now(UTC))
    publisher.init()
    for release in releases:
        publisher.publish(release)
    return publisher
