"""ELF files: real programs of the locked packages, compared with what objdump says of them."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_image.elf import ElfError, is_elf, library_closure, parse_needs, read_section
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Tree
from tests.conftest import locked_tree


@pytest.fixture(scope="module")
def initrd(lock: Lock, store: Store) -> Tree:
    return locked_tree("initrd", lock, store)


@pytest.mark.root
@pytest.mark.parametrize("path", ["usr/bin/dpkg", "usr/bin/mtools", "usr/bin/mkfs.erofs"])
def test_needed_libraries_are_those_that_objdump_prints(tools: Tree, path: str) -> None:
    said = tools.run(["objdump", "-p", f"/{path}"]).stdout.decode()
    needs = parse_needs((tools.root / path).read_bytes())
    assert list(needs.libraries) == re.findall(r"NEEDED\s+(\S+)", said)
    assert needs.interpreter == "/lib64/ld-linux-x86-64.so.2"


def test_a_static_program_needs_nothing(initrd: Tree) -> None:
    needs = parse_needs((initrd.root / "usr/bin/busybox").read_bytes())
    assert (needs.interpreter, needs.libraries) == (None, ())


def test_the_closure_has_the_program_its_libraries_and_its_loader(initrd: Tree) -> None:
    found = library_closure(initrd.root, ["usr/sbin/dmsetup"])
    names = {Path(path).name for path in found}
    assert {"dmsetup", "libc.so.6", "libdevmapper.so.1.02.1", "ld-linux-x86-64.so.2"} <= names
    assert all((initrd.root / path).is_file() for path in found)


def test_a_library_that_is_nowhere_is_named(tmp_path: Path, initrd: Tree) -> None:
    (tmp_path / "program").write_bytes((initrd.root / "usr/sbin/dmsetup").read_bytes())
    with pytest.raises(ElfError, match="program: expected the library lib") as caught:
        library_closure(tmp_path, ["program"])
    assert caught.value.code == "os_image.elf"


def test_a_section_that_is_not_there_is_an_error(initrd: Tree) -> None:
    data = (initrd.root / "usr/sbin/dmsetup").read_bytes()
    assert read_section(data, ".interp") == b"/lib64/ld-linux-x86-64.so.2\0"
    with pytest.raises(ElfError) as caught:
        read_section(data, ".absent")
    assert caught.value.code == "os_image.elf"


@given(st.binary(max_size=200))
def test_broken_files_raise_nothing_else(tail: bytes) -> None:
    data = b"\x7fELF\x02\x01" + tail
    assert is_elf(data)
    for read in (parse_needs, lambda value: read_section(value, ".modinfo")):
        with contextlib.suppress(ElfError):
            read(data)
