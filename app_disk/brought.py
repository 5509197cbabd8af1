"""The images that an application brings itself: by digest in its manifests, as files in `images/`.

Where there is a registry, `skopeo` fetches them; a build never does, since it has no network.

Source: skopeo-copy(1).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app_disk.image import ImageError
from app_disk.manifest import Fault, ManifestError
from app_disk.oci_image import read_image
from app_disk.oci_layout import find_layouts
from app_disk.recipe import RECIPES
from supply_chain import process
from supply_chain.digest import Sha256
from supply_chain.host import require

if TYPE_CHECKING:
    from pathlib import Path

    from app_disk.application import App
    from app_disk.image import Image
    from supply_chain.progress import Progress

IMAGES = "images"
"""The directory beside the manifests that holds layouts and archives."""

_REFERENCE = re.compile(r"[a-z0-9][a-z0-9.-]*(?::[0-9]+)?(?:/[a-z0-9._-]+)+@sha256:([0-9a-f]{64})")
"""Host, repository and digest: no tag, no default for a host."""
_FETCH_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """An image as manifests call it."""

    name: str
    """Registry host and repository."""
    digest: Sha256
    """Of its manifest."""

    @property
    def reference(self) -> str:
        """The name with the digest."""
        return f"{self.name}@{self.digest}"

    @property
    def title(self) -> str:
        """What it is called among a step's inputs."""
        return f"image/{self.name}"


def brought_images(app: App) -> tuple[Brought, ...]:
    """The images that an application names and that there is no recipe for, by name.

    Raises:
        ManifestError: One is named without a digest, or two have one name.
    """
    found = []
    for image in app.images:
        name = image.partition("@")[0]
        if name in RECIPES:
            continue
        found.append(Brought(name=name, digest=_digest(image)))
    if len({one.name for one in found}) != len(found):
        raise ManifestError(
            Fault.IMAGE,
            f"expected one digest for each name, got {[one.reference for one in found]}",
        )
    return tuple(found)


def _digest(image: str) -> Sha256:
    match = _REFERENCE.fullmatch(image)
    if match is None:
        raise ManifestError(
            Fault.IMAGE,
            f"expected NAME@sha256:…, without a tag, or one of {', '.join(sorted(RECIPES))}; "
            f"got {image!r}",
        )
    return Sha256.from_hex(match[1])


def read_brought(app: App, directory: Path, scratch: Path) -> tuple[Image, ...]:
    """The images that an application brings, verified.

    Args:
        app: What its manifests say.
        directory: Its directory.
        scratch: An existing directory for the contents of files; it must outlive the images.

    Raises:
        ImageError: One is not there, not what its digest says, or not one that a guest can run; or
            a file is there that no manifest names.
    """
    layouts = find_layouts(directory / IMAGES)
    used, images = set(), []
    for number, wanted in enumerate(brought_images(app)):
        holding = [layout for layout in layouts if layout.has(wanted.digest)]
        if not holding:
            raise ImageError(
                f"{wanted.reference}: expected it in {directory / IMAGES}, got "
                f"{', '.join(one.path.name for one in layouts) or 'nothing there'}; "
                "where there is a registry, `./do invoke app-disk.pull` fetches it"
            )
        used.add(holding[0])
        place = scratch / f"image-{number}"
        place.mkdir()
        images.append(read_image(holding[0], wanted.name, wanted.digest, place))
    if unused := [layout.path.name for layout in layouts if layout not in used]:
        raise ImageError(f"{directory / IMAGES}: expected images in use, got {', '.join(unused)}")
    return tuple(images)


def pull_argv(image: Brought, archive: Path) -> list[str]:
    """The command that fetches an image from its registry into an archive, as it is."""
    return [
        "skopeo",
        "copy",
        # Never another form of it: manifests name its bytes.
        "--preserve-digests",
        "--override-os=linux",
        "--override-arch=amd64",
        f"docker://{image.reference}",
        f"oci-archive:{archive}",
    ]


def pull_images(app: App, directory: Path, progress: Progress) -> tuple[Brought, ...]:
    """Fetch what is missing in `images/`; return it.

    Raises:
        ManifestError: An image is named without a digest.
        MissingToolError: skopeo is not installed and cannot be.
        CommandError: A registry did not give an image.
    """
    folder = directory / IMAGES
    layouts = find_layouts(folder)
    missing = [
        wanted
        for wanted in brought_images(app)
        if not any(layout.has(wanted.digest) for layout in layouts)
    ]
    if missing:
        require(("skopeo",), progress)
        folder.mkdir(exist_ok=True)
    for wanted in missing:
        target = folder / f"{wanted.name.rpartition('/')[2]}-{wanted.digest.hex[:12]}.tar"
        aside = target.with_name(f".{target.name}.part")
        aside.unlink(missing_ok=True)
        try:
            with progress.step(f"fetch {wanted.reference}"):
                process.run(pull_argv(wanted, aside), timeout_s=_FETCH_TIMEOUT_S)
            aside.rename(target)
        finally:
            aside.unlink(missing_ok=True)
    return tuple(missing)
