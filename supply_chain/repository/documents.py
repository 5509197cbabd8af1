"""The four signed documents of a repository: read and checked, changed, signed and written.

Source: The Update Framework Specification 1.0.34, section 4 (document formats).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tuf.api.exceptions import RepositoryError as TufError
from tuf.api.metadata import (
    Metadata,
    MetaFile,
    Role,
    Root,
    Snapshot,
    TargetFile,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import JSONSerializer

from supply_chain.repository.keys import RepositoryError
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from securesystemslib.signer import CryptoSigner  # type: ignore[attr-defined] # imported into it

    from supply_chain.repository.keys import KeyFolder, KeyRole

TARGETS: Final = "targets"
"""Folder of the files; stock Sigstore clients look for it under this name, beside the documents."""
ROOT_DAYS: Final = 365
TARGETS_DAYS: Final = 90
SNAPSHOT_DAYS: Final = 30
TIMESTAMP_DAYS: Final = 7
_SNAPSHOT_RENEW_DAYS: Final = 10

_Document = Metadata[Root] | Metadata[Targets] | Metadata[Snapshot] | Metadata[Timestamp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """The current documents; they are changed in place and then written."""

    root: Metadata[Root]
    targets: Metadata[Targets]
    snapshot: Metadata[Snapshot]
    timestamp: Metadata[Timestamp]

    @classmethod
    def read(cls, folder: Path) -> Documents:
        """Return the documents that a client would be led to, with their signatures checked.

        Raises:
            RepositoryError: There are none, or one is damaged.
        """
        if not (folder / "timestamp.json").is_file():
            raise RepositoryError(f"{folder} is no repository; make one: invoke index.init")
        try:
            root = Metadata[Root].from_file(str(folder / f"{latest_root(folder)}.root.json"))
            root.verify_delegate(Root.type, root)
            timestamp = Metadata[Timestamp].from_file(str(folder / "timestamp.json"))
            version = timestamp.signed.snapshot_meta.version
            snapshot = Metadata[Snapshot].from_file(str(folder / f"{version}.snapshot.json"))
            version = snapshot.signed.meta["targets.json"].version
            targets = Metadata[Targets].from_file(str(folder / f"{version}.targets.json"))
            for document in (timestamp, snapshot, targets):
                root.verify_delegate(document.signed.type, document)
        except (TufError, OSError, KeyError, ValueError) as exc:
            raise RepositoryError(
                f"{folder}: a document of the repository is damaged ({exc}); "
                "put the repository back from a copy"
            ) from exc
        return cls(root=root, targets=targets, snapshot=snapshot, timestamp=timestamp)

    def sign_root(self, signers: Iterable[CryptoSigner], now: datetime) -> None:
        """Sign a new root version, once by each key."""
        self.root.signed.version += 1
        self.root.signed.expires = _end(now, ROOT_DAYS)
        _sign(self.root, signers)

    def sign_targets(self, keys: KeyFolder, now: datetime) -> None:
        """Sign a new version of the targets, which leads to new versions of what is above."""
        self.targets.signed.version += 1
        self.targets.signed.expires = _end(now, TARGETS_DAYS)
        _sign(self.targets, self._signers(keys, Targets.type))
        self.sign_snapshot(keys, now)

    def sign_snapshot(self, keys: KeyFolder, now: datetime) -> None:
        """Sign a new snapshot of the targets, and a timestamp."""
        self.snapshot.signed.version += 1
        self.snapshot.signed.expires = _end(now, SNAPSHOT_DAYS)
        self.snapshot.signed.meta = {"targets.json": _meta(self.targets)}
        _sign(self.snapshot, self._signers(keys, Snapshot.type))
        self.sign_timestamp(keys, now)

    def sign_timestamp(self, keys: KeyFolder, now: datetime) -> None:
        """Sign a new timestamp of the snapshot, and a new snapshot when its end is near."""
        if self.snapshot.signed.expires < now + timedelta(days=_SNAPSHOT_RENEW_DAYS):
            self.sign_snapshot(keys, now)
            return
        self.timestamp.signed.version += 1
        self.timestamp.signed.expires = _end(now, TIMESTAMP_DAYS)
        self.timestamp.signed.snapshot_meta = _meta(self.snapshot)
        _sign(self.timestamp, self._signers(keys, Timestamp.type))

    def put(self, folder: Path, name: str, data: bytes) -> None:
        """Write a file of the repository and enter its digest into the targets."""
        target = TargetFile.from_data(name, data, ["sha256"])
        self.targets.signed.targets[name] = target
        parent, _, base = name.rpartition("/")
        replace_file(folder / TARGETS / parent / f"{target.hashes['sha256']}.{base}", data)

    def get(self, folder: Path, name: str) -> bytes | None:
        """Return a file of the repository, or None where it has none of the name."""
        target = self.targets.signed.targets.get(name)
        if target is None:
            return None
        parent, _, base = name.rpartition("/")
        return (folder / TARGETS / parent / f"{target.hashes['sha256']}.{base}").read_bytes()

    def write(self, folder: Path) -> None:
        """Write what is not there yet; the timestamp, which leads to the rest, last."""
        for document in (self.root, self.targets, self.snapshot):
            signed = document.signed
            path = folder / f"{signed.version}.{signed.type}.json"
            if not path.exists():
                replace_file(path, _bytes(document))
        replace_file(folder / "timestamp.json", _bytes(self.timestamp))

    def _signers(self, keys: KeyFolder, role: str) -> list[CryptoSigner]:
        entry = self.root.signed.roles[role]
        kind: KeyRole = "targets" if role == Targets.type else "online"
        return keys.signers(kind, entry.keyids, least=entry.threshold)


def new_documents(
    root: Sequence[CryptoSigner],
    targets: CryptoSigner,
    online: CryptoSigner,
    *,
    threshold: int,
    keys: KeyFolder,
    now: datetime,
) -> Documents:
    """Return the first documents of a repository, signed by each key of their roles."""
    signed = Root(consistent_snapshot=True)
    documents = Documents(
        root=Metadata(signed),
        targets=Metadata(Targets()),
        snapshot=Metadata(Snapshot()),
        timestamp=Metadata(Timestamp()),
    )
    for document in (signed, documents.targets.signed, documents.snapshot.signed):
        document.version = 0  # each signature makes the next version
    documents.timestamp.signed.version = 0
    set_keys(signed, Root.type, root, threshold)
    set_keys(signed, Targets.type, [targets], 1)
    for role in (Snapshot.type, Timestamp.type):
        set_keys(signed, role, [online], 1)
    documents.sign_root(root, now)
    documents.sign_targets(keys, now)
    return documents


def set_keys(root: Root, role: str, signers: Iterable[CryptoSigner], threshold: int) -> None:
    """Give a role these keys and no other."""
    for keyid in list(root.roles[role].keyids):
        root.revoke_key(keyid, role)
    root.roles[role] = Role([], threshold)
    for signer in signers:
        root.add_key(signer.public_key, role)


def latest_root(folder: Path) -> int:
    """The version of the newest root in a repository's folder; 0 where there is none."""
    found = (path.name.partition(".")[0] for path in folder.glob("*.root.json"))
    return max((int(text) for text in found if text.isdecimal()), default=0)


def _sign(document: _Document, signers: Iterable[CryptoSigner]) -> None:
    document.signatures.clear()
    for signer in signers:
        document.sign(signer, append=True)


def _meta(document: _Document) -> MetaFile:
    return MetaFile.from_data(document.signed.version, _bytes(document), ["sha256"])


def _bytes(document: _Document) -> bytes:
    return document.to_bytes(JSONSerializer(compact=True))


def _end(now: datetime, days: int) -> datetime:
    return now.replace(microsecond=0) + timedelta(days=days)
