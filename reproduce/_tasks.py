"""The task `reproduce`: build a release again, compare, sign."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from invoke.context import Context
from invoke.tasks import task

from building_site import read_site
from reproduce.confirm import REBUILD, confirm, read_rebuildable, require_equal
from reproduce.rebuild import rebuilt
from reproduce.surroundings import Surroundings
from supply_chain.attest.trust import LOCAL
from supply_chain.front import told
from supply_chain.progress import ConsoleProgress
from supply_chain.rebuilds import write_rebuild

_ROOT = Path(__file__).resolve().parent.parent


@task(
    positional=["release"],
    iterable=["only"],
    help={
        "release": "a release folder, or the evidence.json of one",
        "only": "a step to rebuild, with what it needs; may be repeated",
        "sigstore": "who signs: local, public, or a trust configuration file",
        "place": "a folder to build in, such as one on another file system",
        "offline": "fetch and install nothing: from the store alone",
        "same-user": "do not try to build as another user",
    },
)
@told()
def reproduce(
    _context: Context,
    release: str,
    only: list[str],
    sigstore: str = LOCAL,
    place: str = "",
    offline: bool = False,
    same_user: bool = False,
) -> None:
    """Build a release again under other circumstances; sign that the same came out."""
    site = read_site(
        _ROOT,
        environ=os.environ,
        progress=ConsoleProgress(),
        clock=lambda: datetime.now(UTC),
        sigstore=sigstore,
        offline=offline,
    )
    claim, folder = read_rebuildable(Path(release))
    out = site.workspace.dist / REBUILD
    with (
        site.workspace.exclusive(site.progress),
        rebuilt(
            site,
            claim,
            release=folder,
            only=only,
            place=Path(place).resolve() if place else None,
            surroundings=Surroundings(shift=0) if same_user else Surroundings(),
        ) as made,
    ):
        require_equal(site, claim, made, release=folder)
        write_rebuild(out, confirm(site, claim, made))
    for name, digest in made.products.items():
        print(f"{digest.hex}  {name}")
    print(f"the same as {claim.name} {claim.sequence}; signed in {out}")
    print(f"add it to the release: ./do invoke chain.add {out} {folder or 'RELEASE'}")
