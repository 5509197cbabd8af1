"""cosign as Debian publishes it, for tests with stock clients; run as a program, it fetches it.

Usage: python -m tests.simulators.cosign

It goes into the cache once. apt verifies the archive's signature and the package's digest; nothing
is installed. Where it cannot be had, the tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain import process
from supply_chain.errors import BuildError
from supply_chain.inputs.apt import Apt
from supply_chain.inputs.debian import Archives, fetch_debian
from supply_chain.inputs.lock import Lock, Wish
from supply_chain.inputs.store import Store
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace, fresh_dir

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supply_chain.progress import Progress

SUITES = {"2": "trixie", "3": "sid"}
"""Where each major version is."""
ROOT = Path(__file__).resolve().parents[2]


def cosign(version: str, cache: Path) -> Path:
    """Where the program of a major version is, or would be."""
    return cache / "cosign" / version / "usr" / "bin" / "cosign"


def fetch_cosign(
    version: str, cache: Path, *, environ: Mapping[str, str], progress: Progress
) -> None:
    """The program of a major version is in the cache.

    Raises:
        BuildError: The archive does not have it, or is out of reach.
    """
    if cosign(version, cache).exists():
        return
    suite = SUITES[version]
    archives = Archives.of_machine(environ)
    with tempfile.TemporaryDirectory(prefix="cosign-") as name:
        scratch = Path(name)
        apt = Apt(folder=scratch / "apt", archives=archives, architecture="amd64", suites=(suite,))
        with progress.step(f"reading the package lists of {suite}"):
            apt.update()
        wish = Wish(suites=(suite,), packages=("cosign",), keep="cosign")
        debs = apt.records(dict.fromkeys(apt.closure(wish), ("cosign",)))
        lock = Lock(version=1, archives=tuple(apt.dates()), wheels=(), debs=debs)
        store = Store(scratch / "store")
        fetch_debian(debs, store, lock=lock, archives=archives, progress=progress)
        with fresh_dir(cache / "cosign" / version) as aside:
            for deb in debs:
                process.run(["dpkg-deb", "--extract", str(store.path(deb.sha256)), str(aside)])


def main() -> None:
    """Fetch every version that can be had."""
    cache = Workspace.at(ROOT, os.environ).cache
    for version in SUITES:
        try:
            fetch_cosign(version, cache, environ=os.environ, progress=ConsoleProgress())
        except BuildError as exc:
            sys.stderr.write(f"cosign {version} cannot be had, its tests will be skipped: {exc}\n")


if __name__ == "__main__":
    main()
