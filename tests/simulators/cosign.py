"""cosign as Debian publishes it, for tests with stock clients; run as a program, it fetches it.

Usage: python -m tests.simulators.cosign

It goes into the cache once. Where it cannot be had, the tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError
from supply_chain.inputs.lock import Wish
from supply_chain.progress import ConsoleProgress
from supply_chain.workspace import Workspace
from tests.simulators.debian_tree import fetch_tree

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
    suite = SUITES[version]
    wish = Wish(suites=(suite,), packages=("cosign",), keep="cosign")
    fetch_tree("cosign", wish, cache / "cosign" / version, environ=environ, progress=progress)


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
