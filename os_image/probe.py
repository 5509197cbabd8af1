"""A disk that boots only to say what was measured on the way, for golden PCR values of a machine.

PCR 0 and PCR 1 depend on the firmware and on the virtual machine, not on what is booted; this disk
has the layout of an OS disk, so the firmware treats both alike.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from disk.fat import build_fat
from disk.gpt import write_gpt
from disk.verity import VerityTree, verity_salt
from os_image.build import BOOT_PATH, DISK_GUID, ESP_VOLUME_ID, os_partitions
from os_image.initrd import InitrdParts, build_initrd
from os_image.kernel import Kernel
from os_image.uki import UkiParts, build_uki
from supply_chain.digest import sha256_bytes

if TYPE_CHECKING:
    from supply_chain.inputs.locked import LockedInputs
    from supply_chain.progress import Progress

DISK_NAME = "probe.img"
COMMAND_LINE = "panic=1 quiet"
_IMAGE_BYTES = 4096
"""Nothing is on the root of a probe; its partitions are there because the layout is measured."""


def build_probe_disk(*, inputs: LockedInputs, out: Path, progress: Progress) -> Path:
    """The path of a probe disk, in the directory `out`.

    Its guest prints PCR 0 to 15 of the SHA-256 bank and the event log to the serial console, and
    powers off. No module, no network and no other disk is used.

    Args:
        inputs: The packages; the sets `tools`, `kernel` and `initrd` are used.
        out: Where the disk goes.
        progress: Told about what takes long.

    Raises:
        BuildError: A step failed; the text names the command to replay.
    """
    tools, programs = inputs.tree("tools"), inputs.tree("initrd")
    kernel = Kernel(inputs.tree("kernel").root)
    out.mkdir(parents=True, exist_ok=True)
    with progress.step("probe disk"), tempfile.TemporaryDirectory(dir=out) as name:
        work = Path(name)
        parts = UkiParts(
            kernel=kernel.image,
            initrd=build_initrd(
                InitrdParts(script="probe", programs=programs, needs_dmsetup=False), tools=tools
            ),
            command_line=COMMAND_LINE,
            os_release="NAME=blindllama-probe\nID=blindllama-probe\n",
            kernel_release=kernel.release,
        )
        uki = build_uki(parts, tools=tools, work=work)
        esp, empty = work / "esp.img", work / "empty.img"
        build_fat(esp, {BOOT_PATH: uki}, tools=tools, volume_id=ESP_VOLUME_ID)
        empty.write_bytes(bytes(_IMAGE_BYTES))
        no_root = VerityTree(
            root_hash=sha256_bytes(b"blindllama probe").bytes,
            data_blocks=1,
            salt=verity_salt("root"),
        )
        write_gpt(work / DISK_NAME, os_partitions(esp, empty, empty, no_root), DISK_GUID)
        (work / DISK_NAME).replace(out / DISK_NAME)
    return out / DISK_NAME
