"""Which locked Debian packages the files of an image come from, by path and content.

Every file is asked for: it is a package's own, byte for byte, or compiled from one, or ours. So a
package is listed if and only if something of it is there, and what nobody packaged is listed by
itself.
"""

from __future__ import annotations

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from supply_chain.inputs.deb import Contents, read_contents
from supply_chain.sbom.document import file_part, package_part
from supply_chain.sbom.licence import spdx_licence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from cyclonedx.model.component import Component

    from supply_chain.digest import Sha256
    from supply_chain.inputs.deb import PackedFile
    from supply_chain.inputs.lock import DebianPackage
    from supply_chain.inputs.store import Store

_COMPILED = re.compile(r"(?P<folder>.*/)__pycache__/(?P<module>[^/]+)\.cpython-\d+\.pyc")
_READERS = 2
"""Unpacking releases Python's lock; more threads than cores gain nothing."""


@dataclass(frozen=True, slots=True)
class Packages:
    """Locked packages with what they hold."""

    contents: Mapping[DebianPackage, Contents]

    @classmethod
    def read(cls, packages: Iterable[DebianPackage], store: Store) -> Packages:
        """Read the packages' files from the store.

        Raises:
            PackageFormatError: One of them is not a Debian package.
        """
        wanted = tuple(packages)
        with ThreadPoolExecutor(_READERS) as pool:
            read = pool.map(
                lambda package: read_contents(store.path(package.sha256), package.name), wanted
            )
            return cls(dict(zip(wanted, read, strict=True)))

    def of_path(self, path: str, found: PackedFile | None = None) -> DebianPackage | None:
        """Return the package that holds a path, and holds exactly this there if that is given."""
        for package, contents in self.contents.items():
            packed = contents.files.get(path)
            if packed is not None and found in (None, packed):
                return package
        return None

    def of_digest(self, digest: Sha256) -> DebianPackage | None:
        """Return a package with a file of this content, whatever its path."""
        for package, contents in self.contents.items():
            if any(packed.digest == digest for packed in contents.files.values()):
                return package
        return None


@dataclass(slots=True)
class Inventory:
    """The parts of an image, as its files are counted one by one."""

    _kept: dict[DebianPackage, Counter[str]] = field(default_factory=dict)
    _held: dict[DebianPackage, Contents] = field(default_factory=dict)
    _own: dict[tuple[str, str], Sha256] = field(default_factory=dict)

    def add_package(self, package: DebianPackage, packages: Packages, *, part: str) -> None:
        """Count one file of a package that is in a part of the image."""
        self._kept.setdefault(package, Counter())[part] += 1
        self._held[package] = packages.contents[package]

    def add_own(self, path: str, digest: Sha256, *, part: str) -> None:
        """Count a file that is in no package."""
        self._own[part, path] = digest

    def add_tree(self, files: Mapping[str, PackedFile], packages: Packages, *, part: str) -> None:
        """Count the files of a directory tree: each is a package's, or compiled from one, or ours.

        Args:
            files: All of its files and links by their path.
            packages: What they may come from.
            part: What the tree is called in the bill of materials.
        """
        for path, found in sorted(files.items()):
            source = _COMPILED.fullmatch(path)
            package = (
                packages.of_path(path, found)
                if source is None
                else packages.of_path(f"{source['folder']}{source['module']}.py")
            )
            if package is not None:
                self.add_package(package, packages, part=part)
            elif found.digest is not None and source is None:
                self.add_own(path, found.digest, part=part)

    def parts(self) -> Iterator[Component]:
        """Return everything that was counted, as parts of a bill of materials."""
        for package, kept in self._kept.items():
            contents = self._held[package]
            yield package_part(
                package,
                licence=spdx_licence(contents.copyright),
                properties={
                    "blindllama:files-in-package": str(len(contents.files)),
                    **{f"blindllama:files-in-{part}": str(count) for part, count in kept.items()},
                },
            )
        for (part, path), digest in self._own.items():
            yield file_part(path, digest, properties={"blindllama:part": part})
