"""The kernel of the guest, from the files of its package: the image itself and the modules in need.

Source: Linux, include/linux/module.h (MODULE_INFO) for what a module says about itself.
"""

from __future__ import annotations

import lzma
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from os_image.elf import read_section
from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from collections.abc import Iterable

_SUFFIX = ".ko.xz"


class KernelError(BuildError):
    """The kernel package lacks something, or is not laid out as Debian does."""

    code = "os_image.kernel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Module:
    """A kernel module, not compressed; the signature of Debian at its end is still there."""

    name: str
    """With underscores, as the kernel writes it."""
    content: bytes


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel package that was unpacked."""

    root: Path

    @property
    def release(self) -> str:
        """What `uname -r` says.

        Raises:
            KernelError: There is no kernel, or more than one.
        """
        names = sorted(path.name for path in (self.root / "boot").glob("vmlinuz-*"))
        if len(names) != 1:
            raise KernelError(f"kernel: expected one boot/vmlinuz-*, got {names}")
        return names[0].removeprefix("vmlinuz-")

    @property
    def image(self) -> Path:
        """The kernel itself, a PE image with an EFI stub."""
        return self.root / "boot" / f"vmlinuz-{self.release}"

    def modules(self, names: Iterable[str]) -> tuple[Module, ...]:
        """The modules, each after those that it depends on: an order to load them in.

        A name that is built into the kernel is left out.

        Raises:
            KernelError: There is no module of that name.
        """
        files = self._files()
        built_in = self._built_in()
        ordered: dict[str, Module] = {}

        def add(name: str) -> None:
            if name in ordered or name in built_in:
                return
            if name not in files:
                raise KernelError(f"kernel {self.release}: expected a module {name}, got none")
            content = lzma.decompress(files[name].read_bytes())
            for dependency in module_dependencies(content):
                add(dependency)
            ordered[name] = Module(name=name, content=content)

        for name in names:
            add(_normalised(name))
        return tuple(ordered.values())

    def _files(self) -> dict[str, Path]:
        folder = self.root / "usr/lib/modules" / self.release / "kernel"
        return {
            _normalised(path.name.removesuffix(_SUFFIX)): path
            for path in sorted(folder.rglob(f"*{_SUFFIX}"))
        }

    def _built_in(self) -> frozenset[str]:
        listed = self.root / "usr/lib/modules" / self.release / "modules.builtin"
        lines = listed.read_text("utf-8").split()
        return frozenset(_normalised(Path(line).name.removesuffix(".ko")) for line in lines)


def module_dependencies(content: bytes) -> tuple[str, ...]:
    """The names of the modules that must be loaded before this one.

    Args:
        content: The module, an ELF file.

    Raises:
        ElfError: It has no section of information.
    """
    info = read_section(content, ".modinfo")
    found = re.search(rb"(?:^|\0)depends=([^\0]*)", info)
    names = found[1].decode("ascii").split(",") if found else []
    return tuple(_normalised(name) for name in names if name)


def _normalised(name: str) -> str:
    return name.replace("-", "_")
