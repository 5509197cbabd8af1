"""Watching a log: that it only grew since the last look, and what an identity has signed in it.

A log can lie to one reader only if nobody compares. So the last checkpoint that verified is kept,
and the next one must be of a log that holds the same entries and perhaps more. Entries are not
believed one by one either: all of them together must have the root that the log has signed.

Source: RFC 9162, section 2.1.4 (consistency); Rekor API v1; C2SP tlog-tiles for version 2.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from supply_chain.certificate import holder_of
from supply_chain.errors import BuildError
from supply_chain.local_sigstore.checkpoint import Checkpoint, verify_checkpoint
from supply_chain.local_sigstore.entry import EntryClaim, claim_in
from supply_chain.local_sigstore.log_reader import Leaf, LogReader
from supply_chain.local_sigstore.merkle import MerkleTree, leaf_hash, verify_consistency
from supply_chain.workspace import held, replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path
    from typing import ClassVar

MONITOR = "monitor"
"""The folder of remembered checkpoints, inside the build's state folder."""
MOST_ENTRIES = 100_000
"""How long a log may be whose entries are read; a larger one has monitors of its own."""


class LogError(BuildError):
    """A log cannot be read, or has broken its promise to only grow."""

    code: ClassVar[str] = "build.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedLog:
    """A log as a trusted root names it."""

    name: str
    """The host of its base URL, with which its checkpoints begin."""
    log_id: bytes
    key: ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

    @property
    def version(self) -> int:
        """The version of its API: the second one signs with Ed25519."""
        return 2 if isinstance(self.key, ed25519.Ed25519PublicKey) else 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """What one look at a log has found."""

    before: Checkpoint | None
    """The checkpoint of the last look."""
    now: Checkpoint


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """An entry that an identity has signed."""

    index: int
    time: datetime
    """When it was logged; where the log does not say, since when the certificate is good."""
    identity: str
    issuer: str
    claim: EntryClaim


def trusted_logs(trusted_root_json: str) -> list[TrustedLog]:
    """Return the logs of a trusted root, or of a trust configuration that holds one.

    Raises:
        LogError: It names none that can be watched.
    """
    try:
        document = json.loads(trusted_root_json)
        root = document.get("trustedRoot", document)
        return [
            TrustedLog(
                name=urlsplit(log["baseUrl"]).netloc,
                log_id=base64.b64decode(log["logId"]["keyId"], validate=True),
                key=_key(base64.b64decode(log["publicKey"]["rawBytes"], validate=True)),
            )
            for log in root["tlogs"]
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise LogError(f"trusted root: expected one with logs, got {exc!r}") from exc


def log_of(logs: Sequence[TrustedLog], version: int) -> TrustedLog:
    """Return the one log of a version.

    Raises:
        LogError: There is none, or there are several.
    """
    found = [log for log in logs if log.version == version]
    if len(found) != 1:
        raise LogError(f"trusted root: expected one log of version {version}, got {len(found)}")
    return found[0]


def look(reader: LogReader, log: TrustedLog, memory: Path) -> Look:
    """Look at a log, compare it with the last look, and remember it.

    Args:
        reader: Asks the log.
        log: Whom its signature must be of.
        memory: The folder where checkpoints are kept, one file for each log.

    Raises:
        LogError: The log was shortened or forked, or did not sign what it says.
    """
    path = memory / f"{log.log_id.hex()}.checkpoint"
    with held(path.with_suffix(".lock")):
        before = _remembered(path, log)
        text = reader.checkpoint()
        now = _verified(text, log, "the log's answer")
        if before is not None:
            _check_grown(reader, before, now)
        replace_file(path, text.encode())
    return Look(before=before, now=now)


def entries_of(reader: LogReader, now: Checkpoint, identity: str) -> list[Found]:
    """Return what an identity has signed, of all entries up to a checkpoint.

    Raises:
        LogError: The entries are not those that the log has signed, or are too many.
    """
    if now.size > MOST_ENTRIES:
        raise LogError(f"the log has {now.size} entries: at most {MOST_ENTRIES} are read")
    leaves = reader.leaves(now.size)
    tree = MerkleTree()
    for leaf in leaves:
        tree.append(leaf_hash(leaf.data))
    if tree.root() != now.root:
        raise LogError("the log's entries are not those of its checkpoint: it hides or forges some")
    return list(_signed_by(leaves, identity))


def _signed_by(leaves: Iterable[Leaf], identity: str) -> Iterable[Found]:
    for index, leaf in enumerate(leaves):
        try:
            claim = claim_in(leaf.data)
            holder = None if claim is None else holder_of(claim.certificate)
        except ValueError:
            # Logs take entries of many kinds; what has no Sigstore certificate has no identity.
            continue
        if claim is None or holder is None or holder.identity != identity:
            continue
        yield Found(
            index=index,
            time=claim.certificate.not_valid_before_utc
            if leaf.time_s is None
            else datetime.fromtimestamp(leaf.time_s, UTC),
            identity=holder.identity,
            issuer=holder.issuer,
            claim=claim,
        )


def _check_grown(reader: LogReader, before: Checkpoint, now: Checkpoint) -> None:
    if now.origin != before.origin:
        raise LogError(f"the log calls itself {now.origin!r} and was {before.origin!r} before")
    if now.size < before.size:
        raise LogError(
            f"the log was shortened: it has {now.size} entries and had {before.size} before"
        )
    if now.size == before.size:
        if now.root != before.root:
            raise LogError(f"the log was forked: its {now.size} entries are not those of before")
        return
    if not before.size:
        return
    try:
        verify_consistency(
            (before.size, before.root),
            (now.size, now.root),
            reader.consistency(before.size, now.size),
        )
    except ValueError as exc:
        raise LogError(
            f"the log was forked: its first {before.size} entries are not those of before ({exc})"
        ) from exc


def _remembered(path: Path, log: TrustedLog) -> Checkpoint | None:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return None
    return _verified(text, log, str(path))


def _verified(text: str, log: TrustedLog, where: str) -> Checkpoint:
    try:
        found = verify_checkpoint(text, log.log_id, log.key)
    except ValueError as exc:
        raise LogError(f"{where}: {exc}") from exc
    if found.origin.partition(" - ")[0] != log.name:
        raise LogError(f"{where}: expected a checkpoint of {log.name}, got {found.origin}")
    return found


def _key(der: bytes) -> ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey:
    key = serialization.load_der_public_key(der)
    if not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise ValueError(f"expected an ECDSA or Ed25519 key, got {type(key).__name__}")  # noqa: TRY004 - caught
    return key
