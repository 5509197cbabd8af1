"""What nothing has changed for is kept, by digest; what has is made anew, and nothing beside it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from building_site import Site
from pipeline import APP_DISK, ENGINE, MEASURE, OS_IMAGE
from supply_chain.step import StepResult
from tests.e2e.checkout import another_checkout, invoke

pytestmark = pytest.mark.e2e


def test_a_changed_manifest_rebuilds_the_app_disk_and_the_measurements_alone(
    site: Site, results: Mapping[str, StepResult], tmp_path: Path
) -> None:
    """Engine and OS image are kept; after it, a release is only signed again."""
    elsewhere = another_checkout(site, tmp_path / "elsewhere", share=("store", "trees", "golden"))
    # A room's own task, such as `engine.build`, may have left products without a step's record.
    invoke(elsewhere, "build", "--offline")
    assert kept(invoke(elsewhere, "build", "--offline")) == {ENGINE, APP_DISK, OS_IMAGE, MEASURE}

    manifest = elsewhere / "app_disk" / "apps" / "llm" / "manifests" / "deployment.yaml"
    text = manifest.read_text("utf-8")
    changed = text.replace("memory: 256Mi", "memory: 255Mi")
    assert changed != text
    manifest.write_text(changed, "utf-8")
    run = invoke(elsewhere, "build", "--offline")

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
