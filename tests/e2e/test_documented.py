"""Commands of README and docs as a shell runs them, beside a booted guest and in a fresh clone."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest

from building_site import Site
from deploy.qemu import vm
from standing import Published
from tests.docs.executed import HERE

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).resolve().parents[2]
_PATIENCE_S = 900


def run(command: str, where: Path) -> str:
    """What a command said; it must have succeeded."""
    done = subprocess.run(
        shlex.split(command),
        cwd=where,
        capture_output=True,
        encoding="utf-8",
        timeout=_PATIENCE_S,
        check=False,
        # A newcomer's environment, but for where this machine keeps its packages and certificates.
        env={name: value for name, value in os.environ.items() if name != "VIRTUAL_ENV"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout + done.stderr


@pytest.mark.parametrize("command", HERE)
def test_a_documented_command(command: str, published: Published, guest: vm.Guest) -> None:
    assert published.folder.is_dir()
    said = run(command.replace("URL", guest.url).replace("PROMPT", "'The capital'"), ROOT)
    assert said.strip()
    assert "Traceback" not in said


def test_a_release_from_the_shell(site: Site, tmp_path: Path) -> None:
    """The README's first command, in a clone that has fetched its inputs already."""
    clone = tmp_path / "clone"
    run(f"git clone --quiet {shlex.quote(str(ROOT))} {shlex.quote(str(clone))}", tmp_path)
    cache = clone / ".cache"
    cache.mkdir()
    # Its own identities; the fetched packages are the same by their digests.
    for name in ("store", "trees"):
        (cache / name).symlink_to(site.workspace.cache / name)
    said = run("./do invoke release --tokens 4 --keep", clone)
    try:
        for words in ("✔ 10 Channel", "dist/report.html", "runs at https://127.0.0.1:"):
            assert words in said
        assert "verified: all ten checks passed" in said
        page = (clone / "dist" / "report.html").read_text("utf-8")
        assert "Verified: all ten checks passed" in page
        assert "What is inside" in page
        assert "runs" in run("./do invoke boot.status", clone)
    finally:
        run("./do invoke boot.down", clone)
    assert "runs" not in run("./do invoke boot.status", clone)
