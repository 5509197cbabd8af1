"""The application's disk: which one it is, in the words that PCR 15 receives.

A disk carries two partitions, `app` and `app-verity`. Their GUIDs are the two halves of the root
hash and the size of the first gives the number of blocks; the rest is constant. Nothing is taken
from a superblock, so a disk cannot choose another algorithm, salt or size for itself: whatever it
says has been measured before it is believed.

Source: docs/measurements.md, PCR 15; Linux, Documentation/admin-guide/device-mapper/verity.rst.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from os_image.guest.errors import DiskError
from os_image.guest.gpt import Partition, read_partitions

DATA_NAME = "app"
TREE_NAME = "app-verity"
ALGORITHM = "sha256"
BLOCK_SIZE = 4096
"""Bytes of a data block and of a hash block."""
SALT = hashlib.sha256(b"blindllama app").digest()
SENTINEL = b"blindllama/app-disk/sealed/v1"
"""Extended last: what follows it in PCR 15 can only be an intruder's."""

_DISKS = ("vd", "sd", "nvme")
"""Names of virtio-blk, SCSI and NVMe disks; no loop, dm or memory device is ever looked at."""
_SECTOR = 512
"""Bytes; sysfs counts sizes in this unit whatever the disk's own sectors are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDescriptor:
    """The parameters of the verity device: all that decides which bytes can be read."""

    root_hash: bytes
    """32 bytes."""
    data_blocks: int
    """Blocks of 4096 bytes."""

    def encode(self) -> bytes:
        """The canonical JSON whose SHA-256 is extended into PCR 15."""
        words = {
            "algorithm": ALGORITHM,
            "block_size": BLOCK_SIZE,
            "data_blocks": self.data_blocks,
            "root_hash": self.root_hash.hex(),
            "salt": SALT.hex(),
        }
        return json.dumps(words, sort_keys=True, separators=(",", ":")).encode("ascii")


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDisk:
    """A disk that was found: its two block devices and what they claim to be."""

    data: Path
    tree: Path
    descriptor: AppDescriptor


def find_app_disk(sysfs: Path, devices: Path) -> AppDisk | None:
    """The one disk with the two partitions, or None while there is none.

    Args:
        sysfs: `/sys/class/block`.
        devices: `/dev`.

    Raises:
        DiskError: Several partitions bear one of the names, or they are on different disks, or the
            partition table contradicts the kernel.
    """
    data = _partition_named(DATA_NAME, sysfs)
    tree = _partition_named(TREE_NAME, sysfs)
    if data is None or tree is None:
        return None
    disk = data.resolve().parent.name
    if tree.resolve().parent.name != disk:
        raise DiskError("app disk: expected both partitions on one disk, got them on two")
    partitions = _table(disk, sysfs, devices)
    return AppDisk(
        data=devices / data.name,
        tree=devices / tree.name,
        descriptor=_descriptor(_entry(partitions, data), _entry(partitions, tree)),
    )


def verity_argv(disk: AppDisk, name: str) -> list[str]:
    """The command that maps `disk` to `/dev/mapper/NAME`, with nothing left for the disk to say."""
    return [
        "/usr/sbin/veritysetup",
        "open",
        str(disk.data),
        name,
        str(disk.tree),
        disk.descriptor.root_hash.hex(),
        "--no-superblock",
        "--format=1",
        f"--hash={ALGORITHM}",
        f"--data-block-size={BLOCK_SIZE}",
        f"--hash-block-size={BLOCK_SIZE}",
        f"--data-blocks={disk.descriptor.data_blocks}",
        f"--salt={SALT.hex()}",
        # A wrong block stops the machine: no service may go on with half of its data.
        "--panic-on-corruption",
    ]


def _descriptor(data: Partition, tree: Partition) -> AppDescriptor:
    blocks, rest = divmod(data.size_bytes, BLOCK_SIZE)
    if rest:
        raise DiskError(f"app disk: expected whole blocks of {BLOCK_SIZE} bytes, got {rest} more")
    return AppDescriptor(root_hash=data.guid.bytes + tree.guid.bytes, data_blocks=blocks)


def _partition_named(name: str, sysfs: Path) -> Path | None:
    found = [entry for entry in sorted(sysfs.iterdir()) if _name(entry) == name]
    if len(found) > 1:
        disks = ", ".join(entry.name for entry in found)
        raise DiskError(f"app disk: expected one partition named {name!r}, got {disks}")
    return found[0] if found else None


def _name(entry: Path) -> str | None:
    if not entry.name.startswith(_DISKS) or not (entry / "partition").exists():
        return None
    lines = (entry / "uevent").read_text("utf-8", errors="replace").splitlines()
    return next((line[9:] for line in lines if line.startswith("PARTNAME=")), None)


def _table(disk: str, sysfs: Path, devices: Path) -> tuple[Partition, ...]:
    sector_size = int((sysfs / disk / "queue" / "logical_block_size").read_text("ascii"))
    with (devices / disk).open("rb", buffering=0) as stream:
        return read_partitions(stream, sector_size=sector_size)


def _entry(partitions: tuple[Partition, ...], entry: Path) -> Partition:
    number = int((entry / "partition").read_text("ascii"))
    size = int((entry / "size").read_text("ascii")) * _SECTOR
    for partition in partitions:
        if partition.number == number and partition.size_bytes == size:
            return partition
    raise DiskError(
        f"app disk: expected partition {number} of {size} bytes in the table, got another table"
    )
