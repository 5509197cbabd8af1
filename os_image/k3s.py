"""The second runtime: k3s runs the pods of the measured disk, where its two files are in the lock.

Nothing of this was run here: neither file is in this repository's lock. docs/adr/0016-k3s.md has what
differs from podman, and what that costs.

Source: k3s, docs: Air-Gap Install, Configuration File, Networking Services.
"""

from __future__ import annotations

import json
import tarfile
from typing import TYPE_CHECKING, ClassVar

from os_image.own_files import HERE, lay_over, write_file
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from pathlib import Path

K3S = "k3s"
"""In the lock: the program for x86-64, statically linked."""
AIRGAP = "k3s-airgap-images"
"""In the lock: the archive of k3s's own images (`k3s-airgap-images-amd64.tar`, not compressed). It
goes onto the application's disk, beside the application's own images."""

PAUSE = "rancher/mirrored-pause"
"""What every pod of k3s rests on: the one image that it needs when all else is disabled."""
_MAGIC = b"\x7fELF"


class K3sError(BuildError):
    """A file of k3s is not what the second runtime needs."""

    code: ClassVar[str] = "os_image.k3s"


def lay_k3s(root: Path, program: Path) -> None:
    """Put k3s with its settings into a root file system; its unit takes the place of podman's.

    Args:
        root: The root file system, with the guest's own files.
        program: The program k3s.

    Raises:
        K3sError: It is no program.
    """
    content = program.read_bytes()
    if not content.startswith(_MAGIC):
        raise K3sError(f"{K3S}: expected a program (ELF), got {content[:4]!r}")
    write_file(root / "usr/bin/k3s", content, root=root, executable=True)
    lay_over(HERE / "rootfs_k3s", root)


def check_airgap(archive: Path) -> None:
    """Nothing: the archive holds the image that every pod rests on.

    Raises:
        K3sError: It is no archive of images, or lacks that one: a pod would wait for it for ever.
    """
    try:
        with tarfile.open(archive, "r:") as stream:
            member = stream.extractfile("manifest.json")
            if member is None:
                raise K3sError(f"{AIRGAP}: expected manifest.json to be a file")
            with member:
                document = json.load(member)
        names = [tag for image in document for tag in image["RepoTags"] or ()]
    except (tarfile.TarError, KeyError, TypeError, ValueError) as exc:
        raise K3sError(
            f"{AIRGAP}: expected k3s-airgap-images-amd64.tar, not compressed: {exc!r}"
        ) from exc
    if not any(f"/{name}".rpartition(":")[0].endswith(f"/{PAUSE}") for name in names):
        raise K3sError(f"{AIRGAP}: expected an image {PAUSE}, got {', '.join(names) or 'none'}")
