"""What a publisher does with the release index; each change appears as a whole or not at all.

The folder is copied by hard links, changed aside, fetched as a client would, and put in the place
of the old one in one move. A run that is killed leaves the old repository as it was.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from tuf.api.metadata import Root, Snapshot, Targets, Timestamp

from blindllama import Error, Policy, Repository
from blindllama.release import verify_release
from blindllama.release_list import POLICY_FILE, RELEASES_FILE, ReleaseList, evidence_file
from supply_chain.repository.documents import (
    Documents,
    latest_root,
    new_documents,
    set_keys,
)
from supply_chain.repository.keys import KeyFolder, KeyRole, RepositoryError
from supply_chain.workspace import fresh_dir, held

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from datetime import datetime
    from pathlib import Path

TRUSTED_ROOT: Final = "trusted_root.json"
SIGNING_CONFIG: Final = "signing_config.v0.2.json"
"""These two names are what stock Sigstore clients ask a repository for."""
_WARN_DAYS: Final = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A repository and the keys that sign it."""

    folder: Path
    keys: KeyFolder

    @property
    def lock(self) -> Path:
        """Held while the repository is changed."""
        return self.folder.with_name(f".{self.folder.name}.lock")


@dataclass(frozen=True, slots=True, kw_only=True)
class Publication:
    """What a client will be given."""

    evidence: bytes
    policy: Policy
    signing_config: bytes


def init(
    place: Place, *, root_keys: int, threshold: int, passphrase: bytes | None, now: datetime
) -> Path:
    """Make keys and a repository without a release, and return its first root for clients.

    Raises:
        RepositoryError: There is one already, or the threshold cannot be reached.
    """
    if not 1 <= threshold <= root_keys:
        raise RepositoryError(
            f"threshold; expected 1 to {root_keys}, the root keys; got {threshold}"
        )
    with held(place.lock):
        if place.folder.exists():
            raise RepositoryError(
                f"{place.folder} is there already; its clients trust its root, so renew that one "
                "(invoke index.rotate-root), or remove the folder to begin anew"
            )
        with fresh_dir(place.folder) as aside:
            new_documents(
                [place.keys.make("root", passphrase) for _ in range(root_keys)],
                place.keys.make("targets", passphrase),
                place.keys.make("online", None),
                threshold=threshold,
                keys=place.keys,
                now=now,
            ).write(aside)
    return place.folder / "1.root.json"


def publish(place: Place, publication: Publication, now: datetime) -> ReleaseList:
    """Make a release the newest of the repository, and return the list of releases.

    Raises:
        RepositoryError: It is older than the newest, revoked, of another name, or another one with
            the same number; or a client would refuse what comes of it.
        VerificationError: The release does not pass its own policy.
    """
    policy = publication.policy
    release = verify_release(publication.evidence, policy, now)
    with _changed(place, now) as (documents, aside):
        listed = _listed(documents, aside)
        if listed is not None:
            _check_newer(listed, release.name, release.sequence)
        name = evidence_file(release.sequence)
        published = documents.get(aside, name)
        if published is not None and _index_in(published) != _index_in(publication.evidence):
            raise RepositoryError(f"another release {release.sequence} was published here")
        revoked = () if listed is None else listed.revoked
        listed = ReleaseList(name=release.name, newest=release.sequence, revoked=revoked)
        for target, data in {
            RELEASES_FILE: listed.to_bytes(),
            POLICY_FILE: policy.to_toml().encode(),
            TRUSTED_ROOT: policy.sigstore.trusted_root.encode(),
            SIGNING_CONFIG: publication.signing_config,
            name: publication.evidence,
        }.items():
            documents.put(aside, target, data)
        documents.sign_targets(place.keys, now)
    return listed


def refresh(place: Place, now: datetime) -> None:
    """Sign the timestamp anew; only the online key is needed.

    Raises:
        RepositoryError: The key is missing, or another document has expired.
    """
    with _changed(place, now) as (documents, _):
        documents.sign_timestamp(place.keys, now)


def revoke(place: Place, sequence: int, now: datetime) -> ReleaseList:
    """Take a release back, and return the list of releases.

    Raises:
        RepositoryError: No such release was published, or it was revoked before.
    """
    with _changed(place, now) as (documents, aside):
        listed = _listed(documents, aside)
        if listed is None or evidence_file(sequence) not in documents.targets.signed.targets:
            raise RepositoryError(f"release {sequence} was never published here")
        if sequence in listed.revoked:
            raise RepositoryError(f"release {sequence} is revoked already")
        listed = listed.model_copy(update={"revoked": tuple(sorted({*listed.revoked, sequence}))})
        documents.put(aside, RELEASES_FILE, listed.to_bytes())
        documents.sign_targets(place.keys, now)
    return listed


def rotate_root(
    place: Place,
    roles: Collection[KeyRole],
    *,
    root_keys: int,
    threshold: int,
    passphrase: bytes | None,
    now: datetime,
) -> list[Path]:
    """Sign a new root with the old and the new root keys, and return the keys that ended.

    Args:
        place: The repository.
        roles: Whose keys are made anew; for none, the root is only prolonged.
        root_keys: How many, when root keys are made anew.
        threshold: How many of them must sign.
        passphrase: Encrypts new keys.
        now: The time.

    Raises:
        RepositoryError: Too few of the old root keys are there.
    """
    if not 1 <= threshold <= root_keys:
        raise RepositoryError(
            f"threshold; expected 1 to {root_keys}, the root keys; got {threshold}"
        )
    with _changed(place, now) as (documents, _):
        root = documents.root.signed
        before = _key_files(place, root)
        old = root.roles[Root.type]
        signers = place.keys.signers("root", old.keyids, least=old.threshold)
        if "root" in roles:
            fresh = [place.keys.make("root", passphrase) for _ in range(root_keys)]
            set_keys(root, Root.type, fresh, threshold)
            signers += fresh
        if "targets" in roles:
            set_keys(root, Targets.type, [place.keys.make("targets", passphrase)], 1)
        if "online" in roles:
            online = place.keys.make("online", None)
            for role in (Snapshot.type, Timestamp.type):
                set_keys(root, role, [online], 1)
        documents.sign_root(signers, now)
        if "targets" in roles or documents.targets.signed.expires <= now:
            # Else neither this nor publishing could be the first after both have expired.
            documents.sign_targets(place.keys, now)
        else:
            documents.sign_snapshot(place.keys, now)
        ended = before - _key_files(place, root)
    return sorted(ended)


def soon(place: Place, now: datetime) -> list[str]:
    """What expires within a month and needs a key that is offline, as sentences."""
    documents = Documents.read(place.folder)
    return [
        f"{what} expires on {signed.expires:%Y-%m-%d}: run invoke {command}"
        for what, signed, command in (
            ("the root", documents.root.signed, "index.rotate-root --roles none"),
            ("the list of releases", documents.targets.signed, "index.publish"),
        )
        if signed.expires < now + timedelta(days=_WARN_DAYS)
    ]


@contextlib.contextmanager
def _changed(place: Place, now: datetime) -> Iterator[tuple[Documents, Path]]:
    """The documents and a copy of the folder, which takes its place if a client accepts it."""
    with held(place.lock):
        documents = Documents.read(place.folder)
        with fresh_dir(place.folder) as aside:
            _link_tree(place.folder, aside)
            yield documents, aside
            documents.write(aside)
            _check_as_client(aside, now, listed=_listed(documents, aside) is not None)


def _check_as_client(folder: Path, now: datetime, *, listed: bool) -> None:
    """Refuse what a client would: one that has the first root, and one that has the newest."""
    for version in sorted({1, latest_root(folder)}) if listed else ():
        try:
            Repository(folder, root=folder / f"{version}.root.json").fetch(now)
        except Error as exc:
            raise RepositoryError(
                f"nothing was changed, since clients would refuse it: {exc}; if a document has "
                "expired, run invoke index.rotate-root for the root, else index.publish"
            ) from exc


def _index_in(evidence: bytes) -> object:
    """The signed index: what rebuilders add to a release's evidence later leaves it as it is."""
    return json.loads(evidence)["index"]


def _listed(documents: Documents, folder: Path) -> ReleaseList | None:
    data = documents.get(folder, RELEASES_FILE)
    return None if data is None else ReleaseList.from_bytes(data)


def _check_newer(listed: ReleaseList, name: str, sequence: int) -> None:
    if name != listed.name:
        raise RepositoryError(f"name of the release; expected {listed.name}; got {name}")
    if sequence in listed.revoked:
        raise RepositoryError(f"release {sequence} was revoked; make a new one: invoke release")
    if sequence < listed.newest:
        raise RepositoryError(
            f"release {sequence} is older than {listed.newest}, which is published: clients would "
            "refuse it as a rollback"
        )


def _key_files(place: Place, root: Root) -> set[Path]:
    kinds: dict[str, KeyRole] = {Root.type: "root", Targets.type: "targets"}
    return {
        place.keys.file(kinds.get(role, "online"), keyid)
        for role, entry in root.roles.items()
        for keyid in entry.keyids
    }


def _link_tree(source: Path, target: Path) -> None:
    # Files are only ever replaced, never changed in place, so the two folders can share them.
    shutil.copytree(source, target, copy_function=os.link, dirs_exist_ok=True)
