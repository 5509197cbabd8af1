"""Another checkout of the same sources, for what must not touch the session's own release."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from blindllama import AttestedSession, verify_and_connect
from building_site import Site
from deploy.qemu.release import guest_directory
from deploy.qemu.vm import read_guest
from supply_chain.workspace import Workspace

_SHARED = ("store", "trees", "golden", "state")


def another_checkout(site: Site, to: Path, *, share: Sequence[str] = _SHARED) -> Path:
    """Return a copy of the tracked files and of what was built, with a cache of its own.

    Args:
        site: What is copied.
        to: The new directory.
        share: What of the cache is the same: names of its directories. By default all that a
            release of the same owner needs.
    """
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=site.workspace.root, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(site.workspace.root / name, to / name, follow_symlinks=False)
    shutil.copytree(site.workspace.build, to / "build", ignore=shutil.ignore_patterns("qemu"))
    (to / ".cache").mkdir()
    for name in share:
        (to / ".cache" / name).symlink_to(site.workspace.cache / name)
    return to


def invoke(checkout: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Return what a task says in a checkout; it must succeed."""
    run = subprocess.run(
        [sys.executable, "-m", "invoke", *arguments],
        cwd=checkout,
        env={
            **{name: value for name, value in os.environ.items() if name != "BLINDLLAMA_CACHE"},
            "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'sdk' / 'src'}",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    return run


@contextmanager
def released(checkout: Path, *arguments: str, says: str) -> Iterator[AttestedSession]:
    """A verified session with the guest that `invoke release` leaves running; it is ended after.

    Args:
        checkout: Where it is made.
        arguments: The task's own.
        says: What it must say: the application's answer.
    """
    try:
        run = invoke(checkout, "release", "--keep", *arguments)
        assert says in run.stdout
        guest = read_guest(guest_directory(Workspace.at(checkout, {})))
        assert guest is not None
        with verify_and_connect(
            guest.url,
            release=checkout / "dist" / "release" / "evidence.json",
            policy=checkout / "dist" / "policy.toml",
        ) as session:
            yield session
    finally:
        invoke(checkout, "boot.down")
