"""Programs as Debian publishes them, unpacked into the cache for what is compared with them.

apt verifies the archive's signature and the packages' digests; nothing is installed, and no script
of a package runs. They are of the archive's present state, not of the lock: no artefact comes from
them.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain.inputs.apt import Apt
from supply_chain.inputs.debian import Archives, fetch_debian
from supply_chain.inputs.lock import Lock, Wish
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import unpack_tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supply_chain.progress import Progress


def fetch_tree(
    name: str, wish: Wish, dest: Path, *, environ: Mapping[str, str], progress: Progress
) -> None:
    """The packages of a wish are unpacked in a directory; one that is there is left as it is.

    Args:
        name: What they are called.
        wish: Which packages, from which suites.
        dest: The directory; it appears whole or not at all.
        environ: Settings: mirrors and proxies.
        progress: Told about what takes long.

    Raises:
        BuildError: The archive does not have them, or is out of reach.
    """
    if dest.is_dir():
        return
    archives = Archives.of_machine(environ)
    with tempfile.TemporaryDirectory(prefix=f"{name}-") as scratch:
        folder = Path(scratch)
        apt = Apt(
            folder=folder / "apt", archives=archives, architecture="amd64", suites=wish.suites
        )
        with progress.step(f"reading the package lists of {', '.join(wish.suites)}"):
            apt.update()
        debs = apt.records(dict.fromkeys(apt.closure(wish), (name,)))
        lock = Lock(version=1, archives=tuple(apt.dates()), wheels=(), debs=debs)
        store = Store(folder / "store")
        fetch_debian(debs, store, lock=lock, archives=archives, progress=progress)
        dest.parent.mkdir(parents=True, exist_ok=True)
        unpack_tree(debs, store, dest)
