"""What nothing has changed for is kept, by digest; what has is made anew, and nothing beside it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from building_site import Site
from pipeline import APP_DISK, ENGINE, MEASURE, OS_IMAGE
from supply_chain.step import StepResult

pytestmark = pytest.mark.e2e


def copied(site: Site, to: Path) -> Path:
    """A copy of the tracked files of the checkout."""
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=site.workspace.root, capture_output=True, check=True
    ).stdout.decode()
    for name in filter(None, tracked.split("\0")):
        (to / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(site.workspace.root / name, to / name, follow_symlinks=False)
    return to


def built(checkout: Path) -> subprocess.CompletedProcess[str]:
    """What `invoke build --offline` says in a checkout; it must succeed."""
    run = subprocess.run(
        [sys.executable, "-m", "invoke", "build", "--offline"],
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


def test_a_changed_manifest_rebuilds_the_app_disk_and_the_measurements_alone(
    site: Site, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    """Engine and OS image are kept; after it, a release is only signed again."""
    elsewhere = copied(site, tmp_path / "elsewhere")
    shutil.copytree(site.workspace.build, elsewhere / "build")
    (elsewhere / ".cache").mkdir()
    for name in ("store", "trees", "golden"):
        (elsewhere / ".cache" / name).symlink_to(site.workspace.cache / name)
    assert kept(built(elsewhere)) == {ENGINE, APP_DISK, OS_IMAGE, MEASURE}

    manifest = elsewhere / "app_disk" / "apps" / "llm" / "deployment.yaml"
    text = manifest.read_text("utf-8")
    changed = text.replace("- smollm2-135m-instruct", "- another-name")
    assert changed != text
    manifest.write_text(changed, "utf-8")
    run = built(elsewhere)

    assert kept(run) == {ENGINE, OS_IMAGE}
    before = {
        name: digest.hex for result in results.values() for name, digest in result.products.items()
    }
    lines = (line.split("  ") for line in run.stdout.splitlines())
    after = {name: digest for digest, name in lines}
    assert {name.partition("/")[0] for name in after if after[name] != before[name]} == {
        APP_DISK,
        MEASURE,
    }


def kept(run: subprocess.CompletedProcess[str]) -> set[str]:
    """The steps that a build says it has kept."""
    lines = run.stderr.splitlines()
    return {line.partition(":")[0] for line in lines if line.endswith("nothing changed, kept")}
