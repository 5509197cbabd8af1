"""Where a build keeps its files, and how a file or a directory appears whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

EPOCH = 1767225600
"""2026-01-01T00:00:00Z in seconds: the SOURCE_DATE_EPOCH and every time stamp of an output."""

CACHE_VARIABLE = "BLINDLLAMA_CACHE"
"""The setting that moves the cache elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workspace:
    """All directories of a build, as properties of one value."""

    root: Path
    """The checkout."""
    cache: Path
    """What may be deleted at the cost of time; shared by builds and checkouts."""

    @classmethod
    def at(cls, root: Path, environ: Mapping[str, str]) -> Self:
        """The workspace of a checkout: its own `.cache`, or where BLINDLLAMA_CACHE points."""
        root = root.resolve()
        chosen = environ.get(CACHE_VARIABLE)
        return cls(root=root, cache=Path(chosen).resolve() if chosen else root / ".cache")

    @property
    def store(self) -> Path:
        """Fetched inputs, named by their digests."""
        return self.cache / "store"

    @property
    def trees(self) -> Path:
        """Unpacked roots of locked packages, named by the digest of what is in them."""
        return self.cache / "trees"

    @property
    def state(self) -> Path:
        """Keys and logs of the local Sigstore and of the simulated vTPM's CA."""
        return self.cache / "state"

    @property
    def golden(self) -> Path:
        """Measurements of machine profiles that were taken by a probe boot."""
        return self.cache / "golden"

    @property
    def build(self) -> Path:
        """Intermediate products of the steps."""
        return self.root / "build"

    @property
    def dist(self) -> Path:
        """What is handed on: the release and the policy."""
        return self.root / "dist"

    @property
    def release(self) -> Path:
        """The release folder."""
        return self.dist / "release"


def replace_file(path: Path, data: bytes) -> None:
    """The file holds the data, whole: a crash leaves the old content or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    aside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes it private; a file that was there keeps its mode.
        aside.chmod(path.stat().st_mode & 0o7777 if path.exists() else 0o644)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def fresh_dir(path: Path) -> Iterator[Path]:
    """An empty directory to fill; it takes the place of `path` only when the block succeeds.

    On failure the work is removed, and whatever `path` held before is still there.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        aside.chmod(0o755)
        yield aside
        old = aside.with_name(aside.name + ".old")
        if path.exists():
            path.replace(old)
        aside.replace(path)
        if old.exists():
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(aside, ignore_errors=True)
        raise
