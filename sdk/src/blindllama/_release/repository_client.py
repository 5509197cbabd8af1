"""One TUF update, and the one place where what the tuf library raises becomes ours.

The library's client runs in a scratch folder that is filled from the memory; what it has verified
there goes back into the memory. So the memory is one file that is replaced as a whole, and not four
that a crash can leave at different versions.

Source: The Update Framework Specification 1.0.34, section 5 (the client workflow).
"""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING, Final

from tuf.api import exceptions
from tuf.ngclient import Updater, UpdaterConfig

from blindllama._release.repository_fetch import RememberingFetcher, UnreachableError
from blindllama.errors import (
    Code,
    FormatError,
    FreshnessError,
    NetworkError,
    ProvenanceError,
    RollbackError,
    VerificationError,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime
    from pathlib import Path

__all__ = ["RepositoryUpdate"]

_STEP = 4
_ROOTS: Final = "root_history"
_ROLES: Final = ("timestamp.json", "snapshot.json", "targets.json")
_ROOT_FILE: Final = re.compile(r"[1-9][0-9]{0,8}\.root\.json")
_LATER: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers that say nothing about the repository but "not now"."""


def _config() -> UpdaterConfig:
    return UpdaterConfig(
        max_root_rotations=64,
        max_delegations=0,
        root_max_length=1 << 16,
        timestamp_max_length=1 << 14,
        snapshot_max_length=1 << 16,
        targets_max_length=1 << 20,
    )


class RepositoryUpdate:
    """The newest state of a repository, as far as it verifies."""

    def __init__(
        self,
        scratch: Path,
        fetcher: RememberingFetcher,
        *,
        root: bytes,
        remembered: Mapping[str, bytes],
        now: datetime,
    ) -> None:
        """Start from the caller's root; what is remembered is verified from there.

        Args:
            scratch: An empty folder for the length of the update.
            fetcher: Reads the repository's files.
            root: The root that the caller trusts, by whatever way it came.
            remembered: What `verified` returned after an earlier update.
            now: The time at which documents may not have expired; no clock is read.

        Raises:
            ProvenanceError: `repository.root`: it is no root, or not signed by its own keys.
        """
        self._metadata = scratch / "metadata"
        self._target = scratch / "target"
        self._fetcher = fetcher
        (self._metadata / _ROOTS).mkdir(parents=True)
        for name, data in remembered.items():
            self._path(name).write_bytes(data)
        try:
            self._updater = Updater(
                str(self._metadata),
                "/",
                target_base_url="/targets/",
                fetcher=fetcher,
                config=_config(),
                # Version 6 of the library would take the root in its cache for an empty one.
                bootstrap=root or b"none",
            )
        except exceptions.RepositoryError as exc:
            raise ProvenanceError(
                f"root of the repository: {exc}",
                code=Code.REPOSITORY_ROOT,
                step=_STEP,
                expected="a TUF root signed by its own keys",
            ) from exc
        # The library reads the machine's clock and offers no public way to set another, nor to
        # see when documents expire; test_clock_contract holds it to this.
        self._trusted = self._updater._trusted_set  # noqa: SLF001
        self._trusted.reference_time = now

    def refresh(self) -> None:
        """Fetch and verify root, timestamp, snapshot and targets, in this order.

        Raises:
            VerificationError: with code `repository.*`.
            NetworkError: the repository did not answer in time.
        """
        with _translated(self._fetcher):
            self._updater.refresh()

    def read(self, name: str, *, limit: int) -> bytes:
        """Return a file of the repository, compared with what the targets role has signed.

        Raises:
            VerificationError: with code `repository.*`.
            NetworkError: the repository did not answer in time.
        """
        with _translated(self._fetcher):
            info = self._updater.get_targetinfo(name)
            if info is None:
                raise ProvenanceError(
                    "files that the repository has signed",
                    code=Code.REPOSITORY_INCOMPLETE,
                    step=_STEP,
                    expected=name,
                    got="none of that name",
                )
            if info.length > limit:
                raise _format(f"size of {name}", f"at most {limit} bytes", info.length)
            self._updater.download_target(info, str(self._target))
        return self._target.read_bytes()

    @property
    def expires(self) -> datetime:
        """When the first of the four documents expires."""
        trusted = self._trusted
        roles = (trusted.root, trusted.timestamp, trusted.snapshot, trusted.targets)
        return min(role.expires for role in roles)

    def verified(self) -> dict[str, bytes]:
        """Return every document that has been verified so far, to be remembered."""
        roots = {path.name for path in (self._metadata / _ROOTS).iterdir()}
        # Roots of an older bootstrap may lie beside the chain that was walked.
        chain = (f"{version}.root.json" for version in range(1, self._trusted.root.version + 1))
        names = [name for name in chain if name in roots]
        names += [name for name in _ROLES if self._path(name).exists()]
        return {name: self._path(name).read_bytes() for name in names}

    def _path(self, name: str) -> Path:
        return self._metadata / (name if name in _ROLES else f"{_ROOTS}/{name}")


@contextlib.contextmanager
def _translated(fetcher: RememberingFetcher) -> Iterator[None]:
    try:
        yield
    except exceptions.RepositoryError as exc:
        raise _refusal(exc, fetcher.latest) from exc
    except exceptions.DownloadHTTPError as exc:
        if exc.status_code in _LATER:
            raise NetworkError(f"repository: {exc}; try again later") from exc
        raise FormatError(
            f"repository, {fetcher.latest}: status",
            code=Code.REPOSITORY_STATUS,
            step=_STEP,
            expected=200,
            got=exc.status_code,
        ) from exc
    except exceptions.DownloadLengthMismatchError as exc:
        raise _too_long(fetcher.latest) from exc
    except exceptions.DownloadError as exc:
        cause = exc if isinstance(exc, UnreachableError) else exc.__cause__ or exc
        raise NetworkError(f"repository: {cause}") from exc


def _refusal(exc: exceptions.RepositoryError, latest: str) -> VerificationError:
    """Return our error for one that is about a document, which is the one fetched last."""
    what = f"repository, {latest}: {exc}"
    root = _ROOT_FILE.fullmatch(latest) is not None
    match exc:
        case exceptions.ExpiredMetadataError():
            return FreshnessError(what, code=Code.REPOSITORY_EXPIRED, step=_STEP)
        case exceptions.UnsignedMetadataError() if not root:
            return ProvenanceError(what, code=Code.REPOSITORY_SIGNATURE, step=_STEP)
        case exceptions.BadVersionNumberError() if not root:
            return RollbackError(what, code=Code.REPOSITORY_ROLLBACK, step=_STEP)
        case exceptions.UnsignedMetadataError() | exceptions.BadVersionNumberError():
            return ProvenanceError(what, code=Code.REPOSITORY_ROOT, step=_STEP)
        case exceptions.LengthOrHashMismatchError():
            return ProvenanceError(what, code=Code.REPOSITORY_TAMPERED, step=_STEP)
        case _:
            return _format(what, None, None)


def _too_long(latest: str) -> VerificationError:
    """Return our error for endless data, of a file whose length is signed or only limited."""
    what = f"size of {latest}"
    if latest == "timestamp.json" or _ROOT_FILE.fullmatch(latest):
        return _format(what, "no more than such a document may have", "more")
    return ProvenanceError(
        what, code=Code.REPOSITORY_TAMPERED, step=_STEP, expected="what was signed", got="more"
    )


def _format(what: str, expected: object, got: object) -> FormatError:
    return FormatError(what, code=Code.REPOSITORY_FORMAT, step=_STEP, expected=expected, got=got)
