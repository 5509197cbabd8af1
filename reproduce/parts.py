"""What is inside an artefact: partitions, files, sections, members, tensors, values.

Each reader takes apart one kind of file and nothing else; the comparison (`reproduce.inside`)
takes apart what comes out again. They are given two builds of one thing, at least one of which may
be hostile: whatever a reader cannot read is compared as bytes.
"""

from __future__ import annotations

import json
import os
import stat
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from disk.gpt import read_gpt
from os_image.pe import sections
from supply_chain.inputs.tree import Bind, Tree

_BLOCK = 1 << 20
_EROFS_MAGIC = struct.pack("<I", 0xE0F5E1E2)
_EROFS_OFFSET = 1024
_FAT32_MAGIC = b"FAT32"
_FAT32_OFFSET = 82
_CPIO_HEADER = 110
_CPIO_TRAILER = "TRAILER!!!"
_JSON_LIMIT = 16 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of an artefact, by a name that a person understands."""

    name: str
    content: Path | None = None
    """Its bytes; None for what has none, such as a directory."""
    about: str = ""
    """What else identifies it: kind, mode, owner."""
    whole: bool = False
    """There is nothing inside of it, whatever it begins with."""


@dataclass(frozen=True, slots=True)
class Kit:
    """Where parts are unpacked, and the locked tools that do it."""

    scratch: Path
    tools: Tree

    def place(self, name: str) -> Path:
        """Return a new path to unpack to."""
        number = sum(1 for _ in self.scratch.iterdir())
        return self.scratch / f"{number}-{name.rpartition('/')[2][:40] or 'part'}"

    def keep(self, name: str, data: bytes) -> Path:
        """Return a new file that holds the bytes."""
        path = self.place(name)
        path.write_bytes(data)
        return path


Reader = Callable[[Path, Kit], list[Part]]
"""Returns the parts of a file in order; nothing when the file is of another kind."""


def disk_parts(path: Path, kit: Kit) -> list[Part]:
    """Return the partitions of a GPT disk, and the table before them.

    What others follow from comes first: files, then the kernel image that holds the root hash of
    their file system, then the hash tree, then the table with identities made of that hash.
    """
    extents = read_gpt(path)
    if not extents:
        return []
    first = min(extent.offset_bytes for extent in extents)
    found = [
        Part(
            name=f"partition {extent.name}",
            content=_cut(path, extent.offset_bytes, extent.size_bytes, kit),
        )
        for extent in extents
    ]
    table = Part(name="partition table", content=_cut(path, 0, first, kit), whole=True)
    return [*sorted(found, key=_kind), table]


def _kind(part: Part) -> int:
    content = cast("Path", part.content)
    if _read(content, _EROFS_OFFSET, 4) == _EROFS_MAGIC:
        return 0
    return 1 if _read(content, _FAT32_OFFSET, 5) == _FAT32_MAGIC else 2


def fat_parts(path: Path, kit: Kit) -> list[Part]:
    """Return the files of a FAT32 file system."""
    if _read(path, _FAT32_OFFSET, 5) != _FAT32_MAGIC:
        return []
    return _unpacked(path, kit, ["mcopy", "-s", "-n", "-i", "/in", "::", "/out/"])


def erofs_parts(path: Path, kit: Kit) -> list[Part]:
    """Return the files of an erofs file system, sorted by path."""
    if _read(path, _EROFS_OFFSET, 4) != _EROFS_MAGIC:
        return []
    return _unpacked(path, kit, ["fsck.erofs", "--extract=/out/root", "--preserve", "/in"])


def pe_parts(path: Path, kit: Kit) -> list[Part]:
    """Return the sections of a PE image, and its headers."""
    if _read(path, 0, 2) != b"MZ":
        return []
    data = path.read_bytes()
    found = [
        Part(
            name=f"section {part.name}",
            content=kit.keep(part.name, part.content),
            about=f"{part.virtual_address:#x}",
        )
        for part in sections(data)
    ]
    begin = struct.unpack_from("<I", data, 0x3C)[0]
    return [*found, Part(name="headers", content=kit.keep("headers", data[: begin + 1024]))]


def zstd_parts(path: Path, kit: Kit) -> list[Part]:
    """Return what a zstd file holds."""
    if _read(path, 0, 4) != b"\x28\xb5\x2f\xfd":
        return []
    out = kit.place("zstd")
    out.mkdir()
    kit.tools.run(
        ["zstd", "-d", "--quiet", "/in", "-o", "/out/content"],
        binds=[Bind(host=path, inside="/in"), Bind(host=out, inside="/out", read_only=False)],
    )
    return [Part(name="decompressed", content=out / "content")]


def cpio_parts(path: Path, kit: Kit) -> list[Part]:
    """Return the members of a cpio archive, in its order."""
    if _read(path, 0, 6) != b"070701":
        return []
    data, at, found = path.read_bytes(), 0, []
    while data[at : at + 6] == b"070701":
        numbers = [int(data[at + 6 + 8 * n : at + 14 + 8 * n], 16) for n in range(13)]
        mode, size, name_size = numbers[1], numbers[6], numbers[11]
        begin = at + _CPIO_HEADER
        name = data[begin : begin + name_size - 1].decode(errors="backslashreplace")
        content = begin + name_size + (-(begin + name_size) % 4)
        if name == _CPIO_TRAILER:
            break
        member = kit.keep(name, data[content : content + size])
        about = f"{stat.filemode(mode)} {numbers[2]}:{numbers[3]}"
        found.append(Part(name=name, content=member, about=about))
        at = content + size + (-size % 4)
    return found


def gguf_parts(path: Path, kit: Kit) -> list[Part]:
    """Return the metadata and the tensors of a model."""
    if _read(path, 0, 4) != b"GGUF":
        return []
    # Imported here: it brings numpy, which a release that is kept has no use for.
    from gguf import GGUFReader  # noqa: PLC0415

    reader = GGUFReader(path)
    found = [
        Part(name=f"metadata {name}", content=kit.keep("value", _plain(field.contents())))
        for name, field in reader.fields.items()
        if not name.startswith("GGUF.")
    ]
    for tensor in reader.tensors:
        about = f"{tensor.tensor_type.name} {[int(n) for n in tensor.shape]}"
        content = kit.keep("tensor", tensor.data.tobytes())
        found.append(Part(name=f"tensor {tensor.name}", content=content, about=about))
    return found


def json_parts(path: Path, kit: Kit) -> list[Part]:
    """Return the values of a JSON document, by their places."""
    if path.stat().st_size > _JSON_LIMIT or _read(path, 0, 1) not in {b"{", b"["}:
        return []
    return [
        Part(name=place or "/", content=kit.keep("value", _plain(value)))
        for place, value in _leaves(json.loads(path.read_bytes()), "")
    ]


READERS: tuple[Reader, ...] = (
    disk_parts,
    fat_parts,
    erofs_parts,
    pe_parts,
    zstd_parts,
    cpio_parts,
    gguf_parts,
    json_parts,
)


def _leaves(value: Any, place: str) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 - any JSON value
    children = value.items() if isinstance(value, dict) else enumerate(value)
    for key, child in children:
        inner = f"{place}/{key}"
        if isinstance(child, dict | list) and child:
            yield from _leaves(child, inner)
        else:
            yield inner, child


def _plain(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, default=str).encode()


def _read(path: Path, offset: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(size)


def _cut(path: Path, offset: int, size: int, kit: Kit) -> Path:
    """Return a new file with a piece of another; runs of zeroes become holes."""
    piece = kit.place("piece")
    with path.open("rb") as source, piece.open("wb") as target:
        source.seek(offset)
        while size > 0 and (block := source.read(min(_BLOCK, size))):
            size -= len(block)
            if block.count(0) == len(block):
                target.seek(len(block), os.SEEK_CUR)
            else:
                target.write(block)
        target.truncate()
    return piece


def _unpacked(path: Path, kit: Kit, argv: list[str]) -> list[Part]:
    """Return the files that a locked tool has unpacked to a new folder, sorted by path."""
    out = kit.place("files")
    out.mkdir()
    kit.tools.run(
        argv, binds=[Bind(host=path, inside="/in"), Bind(host=out, inside="/out", read_only=False)]
    )
    root = out / "root" if (out / "root").is_dir() else out
    return [_file(entry, root) for entry in (root, *sorted(root.rglob("*")))]


def _file(entry: Path, root: Path) -> Part:
    """Return a file as a part; what it points to is never followed."""
    found = entry.lstat()
    about = f"{stat.filemode(found.st_mode)} {found.st_uid}:{found.st_gid}"
    if stat.S_ISLNK(found.st_mode):
        about += f" -> {entry.readlink()}"
    regular = stat.S_ISREG(found.st_mode)
    name = entry.relative_to(root).as_posix()
    return Part(name=name, content=entry if regular else None, about=about)
