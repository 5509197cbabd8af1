"""The lock: every outside byte of a build, by name and digest, and who asks for it.

`inputs.toml` is written by people and names what is wanted; `inputs.lock.toml` is
generated from it by `invoke lock.update` and names the exact bytes. Neither holds
the address of an archive or a registry: locks name paths below an archive's base.
"""

from __future__ import annotations

import json
import tomllib
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    InstanceOf,
    PlainSerializer,
    ValidationError,
    field_validator,
    model_validator,
)

from supply_chain.digest import Sha256
from supply_chain.errors import LockError, faults

LOCK_NAME = "inputs.lock.toml"
WISHES_NAME = "inputs.toml"

ArchiveName = Literal["debian", "debian-security"]


def _digest(value: object) -> object:
    return Sha256.from_hex(value) if isinstance(value, str) else value


Digest = Annotated[
    InstanceOf[Sha256],
    BeforeValidator(_digest),
    PlainSerializer(lambda digest: digest.hex, return_type=str),
]


def _as_tuple(value: object) -> object:
    # TOML knows arrays only; strict pydantic wants the tuple that a frozen value needs.
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


_Model = TypeVar("_Model", bound=_Record)


class DebianPackage(_Record):
    """One Debian binary package, down to its bytes."""

    name: str
    version: str
    architecture: str
    suite: str
    """The suite in which it was found, such as `trixie-security`."""
    archive: ArchiveName
    """The archive that has it; its base address is a setting of the machine."""
    pool_path: str
    """Its path below the archive's base."""
    size: int = Field(gt=0)
    """Bytes."""
    sha256: Digest
    sets: Names = ()
    """The sets of inputs that hold it."""

    @field_validator("pool_path")
    @classmethod
    def _inside_the_pool(cls, value: str) -> str:
        path = PurePosixPath(value)
        if path.parts[:1] != ("pool",) or ".." in path.parts or path.suffix != ".deb":
            msg = f"expected the path of a .deb below pool/, got {value!r}"
            raise ValueError(msg)
        return value

    @property
    def title(self) -> str:
        """How messages and statements name it: name, version with its epoch, architecture."""
        return f"{self.name}_{self.version}_{self.architecture}.deb"


class Wheel(_Record):
    """One Python wheel, used as a container of data and never imported."""

    name: str
    version: str
    filename: str = Field(pattern=r"^[A-Za-z0-9_.+-]+\.whl$")
    size: int = Field(gt=0)
    """Bytes."""
    sha256: Digest

    @property
    def title(self) -> str:
        """How messages and statements name it: its file name."""
        return self.filename


class PlainFile(_Record):
    """One file that no archive of packages has: whoever needs it puts it into the store."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]*$")
    version: str
    filename: str = Field(pattern=r"^[A-Za-z0-9_.+-]+$")
    size: int = Field(gt=0)
    """Bytes."""
    sha256: Digest

    @property
    def title(self) -> str:
        """How messages and statements name it: its file name with its version before it."""
        return f"{self.version}/{self.filename}"


Input = DebianPackage | Wheel | PlainFile


class ArchiveDate(_Record):
    """When a suite was published in the state that the lock records."""

    suite: str
    archive: ArchiveName
    date: str = Field(pattern=r"^\d{8}T\d{6}Z$")
    """The Date of its Release file, written as the snapshot archive writes time stamps."""


class Lock(_Record):
    """The content of `inputs.lock.toml`."""

    version: Literal[1]
    archives: Annotated[tuple[ArchiveDate, ...], BeforeValidator(_as_tuple)]
    wheels: Annotated[tuple[Wheel, ...], BeforeValidator(_as_tuple)]
    debs: Annotated[tuple[DebianPackage, ...], BeforeValidator(_as_tuple)]
    files: Annotated[tuple[PlainFile, ...], BeforeValidator(_as_tuple)] = ()

    @model_validator(mode="after")
    def _one_version_per_set(self) -> Self:
        seen: dict[tuple[str, str, str], str] = {}
        for package in self.debs:
            for name in package.sets:
                key = (name, package.name, package.architecture)
                if key in seen:
                    msg = f"set {name} holds {package.name} twice: {seen[key]}, {package.version}"
                    raise ValueError(msg)
                seen[key] = package.version
        return self

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the sets of Debian packages, sorted."""
        return tuple(sorted({name for package in self.debs for name in package.sets}))

    def debian(self, name: str) -> tuple[DebianPackage, ...]:
        """The Debian packages of a set, sorted by name.

        Raises:
            LockError: There is no such set.
        """
        packages = tuple(
            sorted(
                (package for package in self.debs if name in package.sets),
                key=lambda package: (package.name, package.architecture),
            )
        )
        if not packages:
            raise LockError(f"no set {name!r} in the lock, only {', '.join(self.sets)}")
        return packages

    def wheel(self, name: str) -> Wheel:
        """The wheel of that name.

        Raises:
            LockError: There is no such wheel.
        """
        for wheel in self.wheels:
            if wheel.name == name:
                return wheel
        raise LockError(
            f"no wheel {name!r} in the lock, only {', '.join(w.name for w in self.wheels)}"
        )

    def file(self, name: str) -> PlainFile:
        """The plain file of that name.

        Raises:
            LockError: There is no such file.
        """
        for found in self.files:
            if found.name == name:
                return found
        raise LockError(
            f"no file {name!r} in the lock; `./do invoke inputs.add FILE --name {name} "
            "--version VERSION` puts one into it"
        )

    def with_file(self, added: PlainFile) -> Lock:
        """The lock with this file, in the place of another one of its name."""
        others = [found for found in self.files if found.name != added.name]
        files = tuple(sorted((*others, added), key=lambda found: found.name))
        return self.model_copy(update={"files": files})

    def inputs(self, *names: str) -> tuple[Input, ...]:
        """All inputs of some sets, wheels and files, each once; of everything when none is named."""
        wheels = {wheel.name for wheel in self.wheels}
        files = {file.name for file in self.files}
        found: dict[Sha256, Input] = {}
        for name in names or (*self.sets, *sorted(wheels), *sorted(files)):
            if name in files:
                group: tuple[Input, ...] = (self.file(name),)
            else:
                group = (self.wheel(name),) if name in wheels else self.debian(name)
            found.update({item.sha256: item for item in group})
        return tuple(found.values())

    def input_digests(self, *names: str) -> dict[str, Sha256]:
        """The digests of some sets and wheels, by the names that provenance gives them."""
        return {item.title: item.sha256 for item in self.inputs(*names)}

    def date_of(self, package: DebianPackage) -> str | None:
        """When the suite of a package was published, as the lock saw it."""
        for entry in self.archives:
            if (entry.suite, entry.archive) == (package.suite, package.archive):
                return entry.date
        return None


class Wish(_Record):
    """What one set of `inputs.toml` asks for."""

    suites: Names
    """The suites that it may take packages from."""
    packages: Names
    """The packages asked for by name; their dependencies follow, recommendations do not."""
    essential: bool = False
    """Whether it takes all packages that Debian takes for granted, too."""
    keep: str = ""
    """A regular expression for names: only packages that match it wholly stay in the set."""


class WheelWish(_Record):
    """A wheel of `inputs.toml`."""

    version: str


class Wishes(_Record):
    """The content of `inputs.toml`."""

    architecture: str
    sets: dict[str, Wish]
    wheels: dict[str, WheelWish]


def read_lock(path: Path) -> Lock:
    """The lock in a file.

    Raises:
        LockError: The file is missing or malformed.
    """
    return _read(path, Lock)


def read_wishes(path: Path) -> Wishes:
    """The wishes in a file.

    Raises:
        LockError: The file is missing or malformed.
    """
    return _read(path, Wishes)


def lock_text(lock: Lock) -> str:
    """The lock as TOML: one input per line, in one order, so that a diff reads well."""
    lines = [
        "# Made by `invoke lock.update` from inputs.toml. Do not edit.",
        f"version = {lock.version}",
    ]
    for field, entries in (
        ("archives", lock.archives),
        ("wheels", lock.wheels),
        ("debs", lock.debs),
        *([("files", lock.files)] if lock.files else []),
    ):
        lines.append(f"{field} = [")
        lines.extend(f"  {_inline(entry)}," for entry in entries)
        lines.append("]")
    return "\n".join(lines) + "\n"


def _inline(entry: BaseModel) -> str:
    # JSON's strings, integers and arrays are TOML's too.
    fields = entry.model_dump(mode="json").items()
    values = ", ".join(f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in fields)
    return f"{{ {values} }}"


def _read(path: Path, model: type[_Model]) -> _Model:
    try:
        return model.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as exc:
        raise LockError(f"{path.name} cannot be read: {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise LockError(f"{path.name} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise LockError(f"{path.name} is malformed: {faults(exc)}") from exc
