"""What whoever holds a mirror, or some keys, does to a repository."""

from __future__ import annotations

import shutil
from pathlib import Path

from tuf.api.metadata import Metadata, Root, Timestamp
from tuf.api.serialization.json import JSONSerializer

from supply_chain.repository.keys import KeyRole
from tests.simulators.release_repository import Publisher

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
