"""docs/by-hand.md as one script: its blocks, in their order."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "by-hand.md"
_BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def script(*, until: str = "") -> str:
    """The blocks of the page, or those before a heading."""
    page = PAGE.read_text("utf-8")
    if until:
        head, found, _ = page.partition(f"\n{until}\n")
        assert found, until
        page = head
    return "\n".join(_BLOCK.findall(page))


def by_hand(
    release: Path, policy: Path, *, where: Path, url: str = "", until: str = ""
) -> subprocess.CompletedProcess[str]:
    """Do what the page says, in the new folder `where`; what it wrote is in `where/by-hand`."""
    where.mkdir()
    return subprocess.run(
        ["sh", "-c", script(until=until)],
        cwd=where,
        env={
            "PATH": "/usr/bin:/bin",
            "RELEASE": str(release),
            "POLICY": str(policy),
            "URL": url,
        },
        capture_output=True,
        encoding="utf-8",
        check=False,
    )
