"""What a person gets who has rebuilt something else than what was released.

dist/differences/
├── report.txt          each product that differs, and the first difference inside of it
├── STEP/FILE           the rebuilt products that differ
└── STEP/FILE.diffoscope.txt    all differences, where diffoscope is installed
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reproduce.inside import first_difference
from reproduce.parts import Kit
from supply_chain import process
from supply_chain.digest import sha256_file
from supply_chain.errors import CommandError, MissingToolError
from supply_chain.workspace import fresh_dir

if TYPE_CHECKING:
    from collections.abc import Sequence

    from building_site import Site
    from reproduce.rebuild import Rebuild
    from supply_chain.claimed import Claim

FOLDER = "differences"
REPORT = "report.txt"
DIFFOSCOPE = "diffoscope"
_DIFFOSCOPE_S = 1800.0


def keep_differences(
    site: Site, claim: Claim, rebuild: Rebuild, names: Sequence[str], *, release: Path | None
) -> list[str]:
    """Keep the rebuilt products that differ, say where they do, and return that as lines.

    Args:
        site: The checkout.
        claim: The release.
        rebuild: The rebuild, whose folder is about to vanish.
        names: The products that differ.
        release: The release's folder, if there is one to look into.
    """
    lines = []
    with fresh_dir(site.workspace.dist / FOLDER) as out:
        for name in names:
            made = out / name
            if (rebuild.folder / name).is_file():
                made.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(rebuild.folder / name, made)  # its owner is another user
            original = released(site, claim, name, release)
            with site.progress.step(f"compare {name}"):
                lines.append(_line(site, claim, name, original, made))
            if original is not None and made.exists():
                _diffoscope(site, original, made, out / f"{name}.{DIFFOSCOPE}.txt")
        (out / REPORT).write_text("\n".join(lines) + "\n")
    return lines


def released(site: Site, claim: Claim, name: str, release: Path | None) -> Path | None:
    """Return a file with the bytes that the release states for a product, wherever it lies.

    It is in the release's folder under another name, or what this checkout has built itself.
    """
    digest = claim.products.get(name)
    inside = [] if release is None else [release / p for p, d in claim.files.items() if d == digest]
    for path in (*inside, site.workspace.build / name):
        if path.is_file() and sha256_file(path) == digest:
            return path
    return None


def _line(site: Site, claim: Claim, name: str, original: Path | None, made: Path) -> str:
    if not made.exists():
        return f"{name}: in the release, and not in the rebuild"
    if name not in claim.products:
        return f"{name}: in the rebuild, and not in the release"
    if original is None:
        return f"{name}: release {claim.products[name]}, rebuild {sha256_file(made)}"
    # Beside the results: unpacked disks are too large for a /tmp in memory.
    with tempfile.TemporaryDirectory(prefix=".parts-", dir=made.parent) as scratch:
        kit = Kit(scratch=Path(scratch), tools=site.tree("tools"))
        return str(first_difference(original, made, name, kit))


def _diffoscope(site: Site, original: Path, made: Path, report: Path) -> None:
    """Write what diffoscope says, where it is installed; it is never needed."""
    if shutil.which(DIFFOSCOPE, path=process.SEARCH_PATH) is None:
        return
    argv = [DIFFOSCOPE, "--text", str(report), str(original), str(made)]
    with site.progress.step("diffoscope"):
        try:
            # Its exit status is 1 where there is a difference.
            process.run(argv, check=False, timeout_s=_DIFFOSCOPE_S)
        except (CommandError, MissingToolError) as exc:
            site.progress.note(f"diffoscope has not finished: {exc}")
