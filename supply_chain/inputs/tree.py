"""Roots made of locked Debian packages, and programs that run inside them.

A tool whose output ends in an artefact comes from the lock, so it must run with its own
libraries and see neither the host's files nor its network, locale, time zone or umask.
"""

from __future__ import annotations

import fcntl
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from supply_chain import process
from supply_chain.confinement import GIVEN
from supply_chain.digest import Sha256, sha256_bytes
from supply_chain.errors import CommandError
from supply_chain.host import require_root
from supply_chain.inputs.lock import DebianPackage
from supply_chain.inputs.store import Store
from supply_chain.workspace import fresh_dir

_USR_MERGED = ("bin", "lib", "lib64", "sbin")
"""Directories of the root that are links into /usr, in every Debian since 12."""
_LITTLE_MIB = 16
"""With less than this, a full disk is the likely reason of a failure."""
_ENTER = Path(__file__).with_name("_enter.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bind:
    """A file or directory of the host that a program inside a tree sees."""

    host: Path
    inside: str
    """The absolute path inside."""
    read_only: bool = True


@dataclass(frozen=True, slots=True)
class Tree:
    """An unpacked root of locked packages; running a program inside never changes it."""

    root: Path

    def run(
        self,
        argv: Sequence[str],
        *,
        binds: Sequence[Bind] = (),
        env: Mapping[str, str] | None = None,
        stdin: bytes | None = None,
        network: bool = False,
        timeout_s: float | None = None,
        check: bool = True,
    ) -> process.Completed:
        """What a program of the tree answered, run inside it as root of namespaces of its own.

        It starts in `/` with the umask 022, an empty /tmp, a minimal /dev and /proc, and what
        is bound. All else that it writes is gone when it ends.

        Args:
            argv: The command, looked up inside the tree.
            binds: What of the host it may see, and write unless read-only.
            env: Added to the clean environment.
            stdin: Bytes for its standard input.
            network: Whether it shares the host's network; otherwise it has none at all.
            timeout_s: Seconds until it is killed.
            check: Raise when its exit status is not 0.

        Raises:
            CommandError: It failed; the text ends with the command to replay.
            BuildError: This process is not root.
        """
        require_root()
        for given in (self.root, *(bind.host for bind in binds)):
            sys.audit(GIVEN, given)
        plan = {
            "root": str(self.root.resolve()),
            "binds": [[str(b.host.resolve()), b.inside, b.read_only] for b in binds],
            "argv": list(argv),
        }
        spaces = ["--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child"]
        if not network:
            spaces.append("--net")
        # -I: the host's Python settings and modules have no say in what happens inside.
        command = ["unshare", *spaces, "--", sys.executable, "-I", str(_ENTER), json.dumps(plan)]
        done = process.run(command, env=env, stdin=stdin, timeout_s=timeout_s, check=False)
        if check and done.returncode != 0:
            what = f"{argv[0]} of the locked tools failed with exit status {done.returncode}"
            what += _full(bind.host for bind in binds if not bind.read_only)
            raise CommandError(command, returncode=done.returncode, stderr=done.stderr, what=what)
        return done


def _full(written: Iterable[Path]) -> str:
    """Return what to say about disks without room: many tools fail there and do not say why."""
    for path in written:
        free_mib = shutil.disk_usage(path).free >> 20
        if free_mib < _LITTLE_MIB:
            return f"; the disk of {path} is full ({free_mib} MiB left): free some space first"
    return ""


def unpack_tree(packages: Iterable[DebianPackage], store: Store, dest: Path) -> Tree:
    """The files of some packages, unpacked into a new directory; no script of theirs runs.

    Args:
        packages: What to unpack; all of it must be in the store.
        store: Where the packages are.
        dest: The directory, replaced when it is there.

    Raises:
        CommandError: A package cannot be unpacked.
    """
    with fresh_dir(dest) as root:
        for name in _USR_MERGED:
            (root / "usr" / name).mkdir(parents=True)
            (root / name).symlink_to(f"usr/{name}")
        for path in (root / "usr", *(root / "usr" / name for name in _USR_MERGED)):
            path.chmod(0o755)  # whatever the umask of this process is
        for package in packages:
            _extract(store.path(package.sha256), root)
    return Tree(dest)


def _extract(deb: Path, root: Path) -> None:
    # dpkg-deb could extract by itself, but would put a directory in the place of a link when a
    # package still says /lib/… and not /usr/lib/….
    archive = process.run(["dpkg-deb", "--fsys-tarfile", str(deb)]).stdout
    # Permissions: not cut by the umask. Numbers: names would be looked up on this host.
    how = ["--keep-directory-symlink", "--preserve-permissions", "--numeric-owner"]
    process.run(["tar", "--extract", *how, f"--directory={root}", "--file=-"], stdin=archive)


def cached_tree(packages: Iterable[DebianPackage], store: Store, trees: Path) -> Tree:
    """The tree of some packages, unpacked at first use and shared by everyone after.

    Args:
        packages: What it consists of.
        store: Where the packages are.
        trees: The directory of trees, named by the digest of what they consist of.

    Raises:
        CommandError: A package cannot be unpacked.
    """
    wanted = tuple(packages)
    dest = trees / tree_key(wanted).hex
    if not dest.is_dir():
        trees.mkdir(parents=True, exist_ok=True)
        # A directory appears whole or not at all; the file only keeps two from doing the work.
        with (trees / f"{dest.name}.lock").open("wb") as guard:
            fcntl.flock(guard, fcntl.LOCK_EX)
            if not dest.is_dir():
                unpack_tree(wanted, store, dest)
    return Tree(dest)


def tree_key(packages: Iterable[DebianPackage]) -> Sha256:
    """The digest that names the tree of some packages."""
    return sha256_bytes("\n".join(sorted(p.sha256.hex for p in packages)).encode())
