"""What is deliberately different around a second build, so that a leak of any of it shows.

What cannot be changed is said, too: the wall clock (a time namespace shifts the monotonic clocks
alone), so that time differs by as much as has passed; the time stamps of all sources are others.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain import process
from supply_chain.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Sequence

ELSEWHERE = Path(__file__).with_name("_elsewhere.py")
FOLDER = "a place with spaces"
"""The name of the folder that the second build happens in."""
SOURCES_TIME = 946598399
"""1999-12-30T23:59:59Z in seconds: when the second build's sources were last changed."""

_ONE_CPU = 1
_SHIFT = 100_000
_HABITS = {
    # UTC+12:45, and 13:45 in summer: no other zone is as odd.
    "TZ": "Pacific/Chatham",
    # Where i and I are not two forms of one letter, the comma is decimal, and sorting is another.
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "tr_TR.UTF-8",
    "SOURCE_DATE_EPOCH": "1",
    "HOME": "/nonexistent",
    "PYTHONHASHSEED": "4242",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """How the second build's world is."""

    umask: int = 0o077
    hostname: str = "elsewhere"
    cpus: int = _ONE_CPU
    shift: int = _SHIFT
    """The user and group that root is outside of the build's user namespace; 0 for no namespace."""

    def environment(self, checkout: Path) -> dict[str, str]:
        """Return the variables of the second build, in its copy of the checkout."""
        scratch = checkout / "scratch"
        return _HABITS | {
            "PATH": ":".join(reversed(process.SEARCH_PATH.split(":"))),
            "PYTHONPATH": f"{checkout}{os.pathsep}{checkout / 'sdk' / 'src'}",
            "TMPDIR": str(scratch),
        }

    def argv(self, module: str, arguments: Sequence[str]) -> list[str]:
        """Return the command that runs a module of the copy there."""
        plan = {
            "umask": self.umask,
            "hostname": self.hostname,
            "cpus": self.cpus,
            "shift": self.shift,
            "module": module,
            "arguments": list(arguments),
        }
        # -P: the folder of the script is no place to import from.
        return [sys.executable, "-P", str(ELSEWHERE), json.dumps(plan)]

    def told(self) -> dict[str, str]:
        """Return what was different, as the rebuild statement tells it."""
        user = "root of a user namespace" if self.shift else "root, as in the first build"
        return {
            "zone": _HABITS["TZ"],
            "locale": _HABITS["LC_ALL"],
            "umask": f"{self.umask:03o}",
            "hostname": self.hostname,
            "processors": str(self.cpus),
            "user": f"{self.shift} ({user})",
            "network": "none",
            "folder": FOLDER,
            "directory order": "reverse, for what Python lists",
            "time stamps of sources": "1999-12-30T23:59:59Z",
            "SOURCE_DATE_EPOCH outside": _HABITS["SOURCE_DATE_EPOCH"],
        }


def as_another_user(surroundings: Surroundings, checkout: Path) -> str:
    """Return why the second build cannot run as another user on this machine; empty if it can.

    It is tried: kernels and containers forbid user namespaces, or mounts in them, in many ways.
    """
    argv = surroundings.argv("reproduce._trial", [])
    try:
        process.run(argv, cwd=checkout, env=surroundings.environment(checkout), timeout_s=60)
    except CommandError as exc:
        lines = exc.stderr.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else str(exc).splitlines()[0]
    return ""
