"""A page in headless Chromium: what it shows, what it complains of, and what axe-core finds.

Source: Chromium, headless mode; Deque, axe-core API (axe.run).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from html import unescape
from pathlib import Path
from typing import Any

from supply_chain.workspace import Workspace
from tests.simulators import node

ROOT = Path(__file__).resolve().parents[2]
LOCKED = Path(__file__).with_name("npm")
PROGRAM = shutil.which("chromium")
_COMPLAINT = re.compile(r"CONSOLE[:(].*")
_POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
_RUN_AXE = """
axe.run().then((found) => {
  const told = document.createElement("pre");
  told.id = "axe";
  told.textContent = JSON.stringify(found.violations);
  document.body.append(told);
});
"""


def axe_source() -> Path:
    """axe-core's program in the cache, or where it would be."""
    cache = Workspace.at(ROOT, os.environ).cache
    return node.modules(LOCKED, cache) / "axe-core" / "axe.min.js"


def fetch() -> None:
    """axe-core is in the cache.

    Raises:
        BuildError: There is no npm, or what it needs is out of reach.
    """
    node.fetch(LOCKED, Workspace.at(ROOT, os.environ).cache, os.environ)


def rendered(page: str, *, script: str = "") -> tuple[str, list[str]]:
    """The page's document after it was shown, and what the browser complained of.

    Args:
        page: HTML.
        script: Added at the end; the page's own policy, which would refuse it, is then taken out.
    """
    if script:
        page = _POLICY.sub("", page).replace("</body>", f"<script>{script}</script></body>")
    with tempfile.TemporaryDirectory(prefix="bl-page-") as home:
        path = Path(home) / "page.html"
        path.write_text(page, "utf-8")
        done = subprocess.run(
            [
                str(PROGRAM),
                *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"),
                *(f"--user-data-dir={home}/profile", "--enable-logging=stderr"),
                *("--virtual-time-budget=20000", "--timeout=60000", "--dump-dom", path.as_uri()),
            ],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=180,
            check=True,
        )
    return done.stdout, _COMPLAINT.findall(done.stderr)


def violations(page: str) -> list[dict[str, Any]]:
    """What axe-core finds wrong with a page: each with `id`, `impact` and the places."""
    shown, _ = rendered(page, script=axe_source().read_text("utf-8") + _RUN_AXE)
    told = re.search(r'<pre id="axe">(.*?)</pre>', shown, re.DOTALL)
    if told is None:
        raise RuntimeError("axe-core did not finish")
    found: list[dict[str, Any]] = json.loads(unescape(told[1]))
    return found
