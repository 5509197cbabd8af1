"""The client's package as a wheel, the same bytes on every machine, with its bill of materials.

flit's build backend runs under the locked tools' Python: what packs the files, and the zlib that
compresses them, are not the host's.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import flit_core
from cyclonedx.model.component import Component, ComponentType
from packageurl import PackageURL

from supply_chain.digest import Sha256, sha256_file
from supply_chain.errors import LockError
from supply_chain.inputs.tree import Bind
from supply_chain.sbom.document import SBOM, hash_of, licences, named, sbom_document

if TYPE_CHECKING:
    from supply_chain.inputs.tree import Tree

SDK = "sdk"
"""The project's folder in the checkout."""
SOURCES = (
    "sdk/pyproject.toml",
    "sdk/LICENSE",
    "sdk/data",
    "sdk/src",
    "requirements/sdk.txt",
)
"""All that the wheel and its bill of materials are made from, by name in the checkout."""

_BUILD = "import os, flit_core.buildapi as b; os.chdir('/mnt/sdk'); b.build_wheel('/mnt/out')"
_REQUIREMENT = re.compile(
    r"^(?P<name>[a-z0-9.-]+)==(?P<version>[^ ;\\]+)(?: *; *(?P<marker>[^\\]+?))? *\\$"
)
_HASH = re.compile(r"^ +--hash=sha256:(?P<digest>[0-9a-f]{64})(?: \\)?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """The facts of the package that its bill of materials states."""

    name: str
    version: str
    licence: str

    @property
    def wheel(self) -> str:
        """The wheel's file name."""
        return f"{self.name}-{self.version}-py3-none-any.whl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirement:
    """A dependency as the lock of the client's environment names it."""

    name: str
    version: str
    marker: str
    """On which machines it is needed; empty for all."""
    digests: tuple[Sha256, ...]
    """Of every file that may be installed for it."""


def read_project(root: Path) -> Project:
    """Return the facts of the package in a checkout."""
    document = tomllib.loads((root / SDK / "pyproject.toml").read_text("utf-8"))["project"]
    return Project(name=document["name"], version=document["version"], licence=document["license"])


def build_sdk(root: Path, *, tools: Tree, out: Path) -> None:
    """Write the wheel and its bill of materials into the directory `out`.

    Args:
        root: The checkout.
        tools: Where Python is.
        out: An existing directory.

    Raises:
        CommandError: The backend refused.
        LockError: The lock of the client's environment is not as it is compiled.
    """
    project = read_project(root)
    backend = Path(flit_core.__file__).parent
    tools.run(
        # Isolated, but for the backend: neither the tree's site-packages nor a current directory.
        ["python3", "-I", "-c", f"import sys; sys.path.append('/mnt/backend'); {_BUILD}"],
        binds=[
            Bind(host=root / SDK, inside="/mnt/sdk"),
            Bind(host=backend, inside=f"/mnt/backend/{backend.name}"),
            Bind(host=out, inside="/mnt/out", read_only=False),
        ],
    )
    requirements = read_requirements((root / "requirements" / "sdk.txt").read_text("utf-8"))
    sbom = sdk_sbom(project, sha256_file(out / project.wheel), requirements)
    (out / SBOM).write_bytes(sbom)


def read_requirements(text: str) -> tuple[Requirement, ...]:
    """Return what a compiled requirements file locks.

    Raises:
        LockError: A line is none of those that the compiler writes.
    """
    found: list[Requirement] = []
    for number, line in enumerate(text.splitlines(), 1):
        start, digest = _REQUIREMENT.match(line), _HASH.match(line)
        if start is not None:
            found.append(
                Requirement(
                    name=start["name"],
                    version=start["version"],
                    marker=start["marker"] or "",
                    digests=(),
                )
            )
        elif digest is not None and found:
            last = found.pop()
            found.append(
                Requirement(
                    name=last.name,
                    version=last.version,
                    marker=last.marker,
                    digests=(*last.digests, Sha256.from_hex(digest["digest"])),
                )
            )
        elif not re.match(r"^ *(#|$)", line):
            raise LockError(
                f"requirements, line {number}: expected NAME==VERSION or a hash, got {line!r}"
            )
    return tuple(found)


def sdk_sbom(project: Project, wheel: Sha256, requirements: tuple[Requirement, ...]) -> bytes:
    """Return the wheel's bill of materials: itself, and what is installed with it.

    Args:
        project: The package.
        wheel: Digest of its wheel.
        requirements: Its locked dependencies, direct and indirect.
    """
    purl = PackageURL(type="pypi", name=project.name, version=project.version)
    subject = Component(
        name=project.name,
        version=project.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        hashes=[hash_of(wheel)],
        licenses=licences(project.licence),
    )
    return sbom_document(subject, map(_requirement_part, requirements))


def _requirement_part(requirement: Requirement) -> Component:
    purl = PackageURL(type="pypi", name=requirement.name, version=requirement.version)
    # One of several files is installed, by the machine's kind: these are properties, not hashes.
    files = [("blindllama:locked-file", str(digest)) for digest in requirement.digests]
    marker = [("blindllama:marker", requirement.marker)] if requirement.marker else []
    return Component(
        name=requirement.name,
        version=requirement.version,
        type=ComponentType.LIBRARY,
        bom_ref=purl.to_string(),
        purl=purl,
        properties=named([*files, *marker]),
    )
