"""Two builds, in two places, under other habits: the same bytes."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from pipeline import Site
from supply_chain.step import StepResult

pytestmark = pytest.mark.e2e

HABITS = {
    "TZ": "Pacific/Chatham",
    "LANG": "tr_TR.UTF-8",
    "LC_ALL": "tr_TR.UTF-8",
    "SOURCE_DATE_EPOCH": "1",
}


def test_a_build_elsewhere_is_equal(
    site: Site, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    """Another folder, umask, time zone and locale: every product has the same digest."""
    elsewhere = tmp_path / "a place with spaces"
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=site.workspace.root, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        target = elsewhere / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(site.workspace.root / name, target, follow_symlinks=False)
    # The inputs are the same by digest, so they are not fetched twice; the trees are unpacked anew.
    store = elsewhere / ".cache" / "store"
    store.parent.mkdir()
    store.symlink_to(site.workspace.store)
    run = subprocess.run(
        [sys.executable, "-m", "invoke", "build"],
        cwd=elsewhere,
        env={
            **{name: value for name, value in os.environ.items() if name != "BLINDLLAMA_CACHE"},
            **HABITS,
            "PYTHONPATH": f"{elsewhere}{os.pathsep}{elsewhere / 'sdk' / 'src'}",
        },
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    expected = {
        f"{digest.hex}  {name}"
        for result in results.values()
        for name, digest in result.products.items()
    }
    assert set(run.stdout.splitlines()) == expected
