"""ELF files: which shared libraries they ask for, and what is in a named section.

Source: System V ABI (gABI 4.1), chapters 4 and 5; sizes of the 64-bit little-endian form only.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

MAGIC = b"\x7fELF\x02\x01"
"""Signature, then 64-bit class and little-endian data."""
LIBRARY_DIRECTORIES = ("usr/lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu/systemd", "usr/lib")
"""Where a library may lie, relative to a root: the loader's default path, and systemd's own."""

_PROGRAM_HEADER = struct.Struct("<II6Q")
_SECTION_HEADER = struct.Struct("<II4QII2Q")
_LOAD, _DYNAMIC, _INTERPRETER = 1, 2, 3
_NEEDED, _STRING_TABLE = 1, 5


class ElfError(BuildError):
    """A file is no 64-bit ELF file, or a library that it asks for is nowhere."""

    code = "os_image.elf"


@dataclass(frozen=True, slots=True, kw_only=True)
class Needs:
    """What the loader must find before a program can start."""

    interpreter: str | None
    """The absolute path of the loader; None for a library and for a static program."""
    libraries: tuple[str, ...]
    """Names without directories, in the order of the file."""


def is_elf(data: bytes) -> bool:
    """Whether these are the first bytes of a 64-bit little-endian ELF file."""
    return data.startswith(MAGIC)


def parse_needs(data: bytes) -> Needs:
    """What a program or library asks the loader for.

    Args:
        data: The whole file.

    Raises:
        ElfError: It is malformed.
    """
    try:
        return _parse_needs(data)
    except (struct.error, ValueError) as exc:
        raise ElfError(f"ELF file: a header or table is cut off: {exc}") from exc


def read_section(data: bytes, name: str) -> bytes:
    """The content of a section.

    Raises:
        ElfError: There is no such section, or the file is malformed.
    """
    if not is_elf(data):
        raise ElfError(f"ELF file: expected {MAGIC!r}, got {data[:6]!r}")
    try:
        (offset,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        headers = [_SECTION_HEADER.unpack_from(data, offset + n * size) for n in range(count)]
        strings = headers[names]
    except (struct.error, IndexError) as exc:
        raise ElfError(f"ELF file: the section table is cut off: {exc}") from exc
    for header in headers:
        if _text(data, strings[4] + header[0]) == name:
            return data[header[4] : header[4] + header[5]]
    raise ElfError(f"ELF file: expected a section {name}, got none")


def library_closure(root: Path, programs: Iterable[str]) -> tuple[str, ...]:
    """The programs and all libraries and loaders that they need, as paths relative to `root`.

    Args:
        root: A root file system with merged /usr.
        programs: Paths of ELF files, relative to `root`.

    Raises:
        ElfError: A library is nowhere; the text says who asks for it.
    """
    found: set[str] = set()
    waiting = list(programs)
    while waiting:
        path = waiting.pop()
        if path in found:
            continue
        found.add(path)
        waiting += _needed_paths(root, path)
    return tuple(sorted(found))


def _needed_paths(root: Path, path: str) -> list[str]:
    needs = parse_needs((root / path).read_bytes())
    paths = []
    for name in needs.libraries:
        places = [f"{place}/{name}" for place in LIBRARY_DIRECTORIES]
        place = next((place for place in places if (root / place).is_file()), None)
        if place is None:
            raise ElfError(f"{path}: expected the library {name}, found it in no directory")
        paths.append(place)
    if needs.interpreter:
        paths.append("usr/" + needs.interpreter.lstrip("/").removeprefix("usr/"))
    return paths


def _parse_needs(data: bytes) -> Needs:
    if not is_elf(data):
        raise ElfError(f"ELF file: expected {MAGIC!r}, got {data[:6]!r}")
    (table,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    segments = [_PROGRAM_HEADER.unpack_from(data, table + n * size) for n in range(count)]
    interpreter = None
    dynamic: list[tuple[int, int]] = []
    for kind, _flags, offset, _address, _physical, file_size, _memory, _align in segments:
        if kind == _INTERPRETER:
            interpreter = _text(data, offset)
        elif kind == _DYNAMIC:
            dynamic = list(struct.iter_unpack("<QQ", data[offset : offset + file_size // 16 * 16]))
    strings = next((value for tag, value in dynamic if tag == _STRING_TABLE), 0)
    base = _file_offset(segments, strings)
    libraries = tuple(_text(data, base + value) for tag, value in dynamic if tag == _NEEDED)
    return Needs(interpreter=interpreter, libraries=libraries)


def _file_offset(segments: Iterable[tuple[int, ...]], address: int) -> int:
    for kind, _flags, offset, start, _physical, file_size, _memory, _align in segments:
        if kind == _LOAD and start <= address < start + file_size:
            return offset + address - start
    return 0


def _text(data: bytes, offset: int) -> str:
    return data[offset : data.index(b"\0", offset)].decode("ascii")
