"""Releases from a repository that cannot be rolled back, frozen or mixed: The Update Framework.

    release = Repository("https://releases.example", root="1.root.json", memory="memory")
    session = verify_and_connect("https://127.0.0.1:8443", release=release)

The root is the caller's: it comes with the software, or by any way that the caller trusts, and
never from the repository or from a cache. The repository itself may be served by anybody.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from blindllama.errors import Code, ProvenanceError, RollbackError, UsageError
from blindllama.release_list import (
    LIST_LIMIT,
    POLICY_FILE,
    RELEASES_FILE,
    Listing,
    ReleaseList,
    evidence_file,
)

if TYPE_CHECKING:
    from datetime import datetime

    from blindllama._release.repository_client import RepositoryUpdate
    from blindllama._release.repository_memory import Remembered

__all__ = ["Fetched", "Repository"]

_STEP = 4
_EVIDENCE_LIMIT: Final = 2 << 20
_POLICY_LIMIT: Final = 1 << 20
_ROOT_LIMIT: Final = 1 << 16
_MOST_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What a repository's keys have signed; the release itself is not verified yet."""

    listing: Listing
    evidence: bytes
    """The `evidence.json` of the newest release."""
    policy: bytes
    """The `policy.toml` of the repository."""


class Repository:
    """A release index that the caller trusts by its root; threads may share it."""

    def __init__(
        self,
        location: str | Path,
        *,
        root: bytes | Path | str,
        memory: Path | str | None = None,
        timeout_s: float = 30.0,
    ) -> None:
        """Read the root; nothing is fetched yet.

        Args:
            location: `http[s]://HOST[:PORT][/PATH]`, or the path of a folder.
            root: A root document that the caller trusts, its bytes or its path.
            memory: A folder, one for each repository, that remembers what was seen: without one,
                a client that starts anew can be shown an old state that has not expired.
            timeout_s: Seconds for one update as a whole, however slowly its bytes drip.

        Raises:
            UsageError: an argument that can never be right.
        """
        # Not at the top: the tuf library takes half a second to load.
        from blindllama._release.repository_fetch import FolderSource, WebSource  # noqa: PLC0415
        from blindllama._release.repository_memory import FileMemory, ProcessMemory  # noqa: PLC0415

        if not 0 < timeout_s <= _MOST_SECONDS:
            raise UsageError(
                f"timeout_s; expected seconds above 0, at most {_MOST_SECONDS}; got {timeout_s}"
            )
        self._timeout_s = timeout_s
        self._root = root if isinstance(root, bytes) else _read_root(Path(root))
        self._memory = ProcessMemory() if memory is None else FileMemory(Path(memory))
        web = isinstance(location, str) and "://" in location
        self._source = WebSource.at(str(location)) if web else FolderSource(Path(location))

    def fetch(self, now: datetime) -> Fetched:
        """Return the newest release's evidence and the policy, at the time given.

        Raises:
            RollbackError: `repository.rollback`: older than what was seen before.
            FreshnessError: `repository.expired`: nobody has renewed it, or it is held back.
            ProvenanceError: `repository.root`, `repository.signature`, `repository.tampered`,
                `repository.incomplete`, `release.name`.
            FormatError: `repository.format`, `repository.status`, `format.*`.
            NetworkError: the repository did not answer in time.
            UsageError: the memory, or a scratch folder, cannot be read or written; `now` has no
                time zone.
        """
        if now.tzinfo is None:
            raise UsageError("time to fetch at; expected a time zone; got none")
        try:
            return self._fetch(now)
        except OSError as exc:
            # Of the scratch folder: network and memory have errors of their own.
            raise UsageError(f"update of the repository: {exc}") from exc

    def _fetch(self, now: datetime) -> Fetched:
        from blindllama._release.repository_client import RepositoryUpdate  # noqa: PLC0415
        from blindllama._release.repository_fetch import RememberingFetcher  # noqa: PLC0415

        with (
            self._memory.held(self._timeout_s),
            tempfile.TemporaryDirectory(prefix="blindllama-") as scratch,
        ):
            remembered = self._memory.load()
            update = RepositoryUpdate(
                Path(scratch),
                RememberingFetcher(self._source, timeout_s=self._timeout_s),
                root=self._root,
                remembered=remembered.documents,
                now=now,
            )
            try:
                update.refresh()
                listing = _listing(update, remembered)
                remembered = replace(remembered, name=listing.name, sequence=listing.newest)
            finally:
                # What was verified is not forgotten because something after it was refused.
                documents = MappingProxyType(update.verified())
                self._memory.store(replace(remembered, documents=documents))
            return Fetched(
                listing=listing,
                evidence=update.read(evidence_file(listing.newest), limit=_EVIDENCE_LIMIT),
                policy=update.read(POLICY_FILE, limit=_POLICY_LIMIT),
            )


def _listing(update: RepositoryUpdate, remembered: Remembered) -> Listing:
    wire = ReleaseList.from_bytes(update.read(RELEASES_FILE, limit=LIST_LIMIT))
    if remembered.name not in {None, wire.name}:
        raise ProvenanceError(
            "name of the repository's releases",
            code=Code.RELEASE_NAME,
            step=_STEP,
            expected=f"{remembered.name}, as in the memory",
            got=wire.name,
        )
    if wire.newest < remembered.sequence:
        raise RollbackError(
            "newest release of the repository",
            code=Code.REPOSITORY_ROLLBACK,
            step=_STEP,
            expected=f"at least {remembered.sequence} (seen before)",
            got=wire.newest,
        )
    return Listing(
        name=wire.name,
        newest=wire.newest,
        revoked=frozenset(wire.revoked),
        expires=update.expires,
    )


def _read_root(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except OSError as exc:
        raise UsageError(f"root of the repository, {path}: {exc.strerror or exc}") from exc
    if len(data) > _ROOT_LIMIT:
        raise UsageError(f"root of the repository, {path}; expected at most {_ROOT_LIMIT} bytes")
    return data
