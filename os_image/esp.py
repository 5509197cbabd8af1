"""Another ESP on a disk that was built: same place, same size, other files."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from disk.fat import build_fat
from os_image.build import ESP_VOLUME_ID
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from supply_chain.inputs.tree import Tree

ESP_OFFSET_BYTES = 1 << 20
"""The first partition of an OS disk begins here; see `disk.gpt`."""
_COPY_BYTES = 1 << 20


class EspError(BuildError):
    """The files do not fit into the ESP of a disk."""

    code = "os_image.esp"


def with_esp(
    disk: Path, files: Mapping[str, bytes], *, size_bytes: int, tools: Tree, out: Path
) -> None:
    """Write a copy of an OS disk whose ESP holds these files and nothing else.

    The partition table is the same, so PCR 5 is: what an ESP holds is measured when it is used.

    Args:
        disk: The disk, as `build_os_image` made it.
        files: Contents by absolute paths with `/`.
        size_bytes: The size of its ESP.
        tools: Where mkfs.vfat and mcopy are.
        out: The file to write; an existing one is replaced.

    Raises:
        EspError: The files need an ESP of another size.
        CommandError: A tool refused.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as name:
        work = Path(name)
        sources = {}
        for number, (path, content) in enumerate(sorted(files.items())):
            sources[path] = work / f"file-{number}"
            sources[path].write_bytes(content)
        image = work / "esp.img"
        build_fat(image, sources, tools=tools, volume_id=ESP_VOLUME_ID)
        if image.stat().st_size != size_bytes:
            raise EspError(
                f"ESP of {disk.name}: expected files for {size_bytes} bytes, "
                f"got files that need {image.stat().st_size}"
            )
        shutil.copyfile(disk, work / "disk.img")
        with (work / "disk.img").open("r+b") as target, image.open("rb") as source:
            target.seek(ESP_OFFSET_BYTES)
            shutil.copyfileobj(source, target, _COPY_BYTES)
        (work / "disk.img").replace(out)
