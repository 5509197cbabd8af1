"""Programs from npm, by a lock beside whoever runs them, into the cache; no install script runs."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

from supply_chain import process
from supply_chain.digest import sha256_file
from supply_chain.workspace import fresh_dir

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_PASSED_ON = re.compile(r"HOME|(?:npm_config|NODE_EXTRA|HTTPS?_PROXY|NO_PROXY).*", re.IGNORECASE)
"""What of the caller's environment npm needs to reach its registry."""


def modules(locked: Path, cache: Path) -> Path:
    """Where the packages of a lock are, or would be; another lock is another place.

    Args:
        locked: The folder of `package.json` and `package-lock.json`.
        cache: The folder that keeps what was fetched.
    """
    digest = sha256_file(locked / "package-lock.json").hex[:16]
    return cache / "npm" / digest / "node_modules"


def fetch(locked: Path, cache: Path, environ: Mapping[str, str]) -> None:
    """The packages of a lock are in the cache.

    Raises:
        BuildError: There is no npm, or what it needs is out of reach.
    """
    place = modules(locked, cache)
    if place.exists():
        return
    settings = {name: value for name, value in environ.items() if _PASSED_ON.fullmatch(name)}
    with fresh_dir(place.parent) as aside:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(locked / name, aside / name)
        process.run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=aside,
            env=settings,
            timeout_s=600,
        )
