"""A Debian repository on disk that offers the locked packages and nothing else.

apt takes it without a signature, since each package was compared with its digest in the lock when
it entered the store.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from supply_chain.inputs.lock import DebianPackage
    from supply_chain.inputs.store import Store


def write_repository(packages: Iterable[DebianPackage], store: Store, folder: Path) -> None:
    """Fill a directory with the packages and the `Packages` index that names their digests.

    The index holds no dependencies: they were resolved when the lock was made, and what of them
    the image needs is named by its specification.

    Args:
        packages: What to offer; all of it must be in the store.
        store: Where the packages are.
        folder: An empty directory.

    """
    stanzas = []
    for package in packages:
        name = f"{package.sha256.hex}.deb"
        stored = store.path(package.sha256)
        try:
            (folder / name).hardlink_to(stored)
        except OSError:  # the store is on another file system
            shutil.copyfile(stored, folder / name)
        stanzas.append(
            f"Package: {package.name}\nVersion: {package.version}\n"
            f"Architecture: {package.architecture}\nFilename: ./{name}\n"
            f"Size: {package.size}\nSHA256: {package.sha256.hex}\n"
        )
    replace_file(folder / "Packages", "\n".join(stanzas).encode())
