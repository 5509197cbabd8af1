"""Where a build keeps its files, and how a file or a directory appears whole or not at all."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from supply_chain.progress import Progress

EPOCH = 1767225600
"""2026-01-01T00:00:00Z in seconds: the SOURCE_DATE_EPOCH and every time stamp of an output."""

CACHE_VARIABLE = "BLINDLLAMA_CACHE"
"""The setting that moves the cache elsewhere."""

_RENAME_EXCHANGE = 2
"""Source: Linux, include/uapi/linux/fs.h."""
_AT_FDCWD = -100
_NO_EXCHANGE = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP})
"""What file systems answer that cannot swap two names, such as NFS."""
_RANDOM = "[a-z0-9_]{8}"
"""What `tempfile` appends to a prefix."""


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

    def exclusive(self, progress: Progress) -> contextlib.AbstractContextManager[None]:
        """Around what writes to `build` or `dist`: a second run in this checkout waits for it."""
        return held(self.build / ".lock", progress, "another run in this checkout")


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
def held(
    path: Path, progress: Progress | None = None, holder: str = "another run"
) -> Iterator[None]:
    """The lock file is this process's alone; the kernel drops it when the process dies.

    Args:
        path: The file, made when it is missing; never removed.
        progress: Told when it has to be waited for.
        holder: Who has it then, for people.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if progress is not None:
                progress.note(f"waiting for {holder} to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def scratch_dir(parent: Path, name: str) -> Iterator[Path]:
    """An empty directory `.NAME.…` in `parent` for the length of the block.

    What killed runs have left under such names is removed first; what belongs to a run that still
    goes on is recognised by its lock and left alone.
    """
    parent.mkdir(parents=True, exist_ok=True)
    _sweep(parent, name)
    aside, lock = _claim(parent, name)
    try:
        yield aside
    finally:
        os.close(lock)
        shutil.rmtree(aside, ignore_errors=True)


@contextlib.contextmanager
def fresh_dir(path: Path) -> Iterator[Path]:
    """An empty directory to fill; it takes the place of `path` only when the block succeeds.

    On failure the work is removed, and whatever `path` held before is still there: at every
    moment, also after a kill, `path` is the old directory or the new one.
    """
    with scratch_dir(path.parent, path.name) as aside:
        aside.chmod(0o755)
        yield aside
        if not path.exists():
            aside.replace(path)
        elif not _exchange(aside, path):
            old = aside.with_name(f"{aside.name}.old")
            path.replace(old)
            try:
                aside.replace(path)
            except BaseException:
                old.replace(path)
                raise
            shutil.rmtree(old)


def _claim(parent: Path, name: str) -> tuple[Path, int]:
    """Make a directory and lock it, before anybody takes it for one that was left behind."""
    while True:
        aside = Path(tempfile.mkdtemp(prefix=f".{name}.", dir=parent))
        lock = os.open(aside, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if aside.stat().st_ino == os.fstat(lock).st_ino:
                return aside, lock
        os.close(lock)


def _sweep(parent: Path, name: str) -> None:
    left = re.compile(rf"\.{re.escape(name)}\.{_RANDOM}")
    for entry in parent.iterdir():
        if not left.fullmatch(entry.name) or entry.is_symlink() or not entry.is_dir():
            continue
        with contextlib.suppress(OSError):
            lock = os.open(entry, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(entry, ignore_errors=True)
            finally:
                os.close(lock)


def _exchange(one: Path, other: Path) -> bool:
    """Swap two names in one move; False where the file system cannot."""
    libc = ctypes.CDLL(None, use_errno=True)
    done = libc.renameat2(
        _AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other), _RENAME_EXCHANGE
    )
    if done == 0:
        return True
    number = ctypes.get_errno()
    if number in _NO_EXCHANGE:
        return False
    raise OSError(number, os.strerror(number), str(other))
