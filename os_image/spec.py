"""What an OS image is made of, as one reads it in `os-image.toml`.

Everything is a list of what stays. A package, unit or module that is not named here is not in the
image, so that the file can be read as the inventory of what is trusted.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from supply_chain.errors import BuildError, faults

SPEC_NAME = "os-image.toml"


class SpecError(BuildError):
    """The specification of an OS image is malformed or contradicts itself."""

    code = "os_image.spec"


def _as_tuple(value: object) -> object:
    # TOML knows arrays only; strict pydantic wants the tuple that a frozen value needs.
    return tuple(value) if isinstance(value, list) else value


Names = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class User(_Record):
    """An account of the guest; no account has a password or a shell."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    uid: int = Field(ge=0, le=65534)
    """Also the number of the group of the same name."""
    groups: Names = ()
    """Names of further groups, each of a user in the same list or in `groups` of the spec."""


class Group(_Record):
    """A group without a user."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,30}$")
    gid: int = Field(ge=1, le=65533)


class KernelSpec(_Record):
    """The kernel's command line and modules."""

    command_line: Names
    """Words after the root hash; all of it is measured into PCR 9 and PCR 11."""
    initrd_modules: Names
    """Loaded before the root file system is there, with what they depend on."""
    guest_modules: Names
    """Loaded from the root file system; after them, no module can be loaded any more."""


class RootfsSpec(_Record):
    """The root file system."""

    packages: Names
    """Debian packages whose files stay; what they depend on must be named as well."""
    programs: Names
    """Glob patterns, relative to the root, of executable files and links that stay."""
    units: Names
    """Names of systemd units of these packages that stay."""
    remove: Names
    """Glob patterns, relative to the root, of files of these packages that do not stay."""
    read_ahead: Names
    """Glob patterns, relative to the root, of files that the initrd reads before they are used."""


class DebugSpec(_Record):
    """What a debug image has in addition; it is another image with other measurements."""

    command_line: Names
    packages: Names
    programs: Names


class K3sSpec(_Record):
    """What an image has in addition where k3s runs the pods; another image, other measurements."""

    guest_modules: Names


class OsImageSpec(_Record):
    """The content of `os-image.toml`."""

    version: Literal[1]
    name: str = Field(pattern=r"^[a-z][a-z0-9-]*$")
    debug: bool
    """Whether the image has a console with a root shell; `blindllama.debug=1` says so, measured."""
    runtime: Literal["podman", "k3s"] = "podman"
    """What runs the pods; k3s only where its files are in the lock (docs/adr/0016-k3s.md)."""
    kernel: KernelSpec
    rootfs: RootfsSpec
    users: Annotated[tuple[User, ...], BeforeValidator(_as_tuple)]
    groups: Annotated[tuple[Group, ...], BeforeValidator(_as_tuple)]
    when_debug: DebugSpec
    when_k3s: K3sSpec

    @model_validator(mode="after")
    def _identities_are_unique(self) -> OsImageSpec:
        numbers = [user.uid for user in self.users] + [group.gid for group in self.groups]
        names = [user.name for user in self.users] + [group.name for group in self.groups]
        if len(set(numbers)) != len(numbers) or len(set(names)) != len(names):
            msg = "users and groups: expected each name and number once"
            raise ValueError(msg)
        unknown = {name for user in self.users for name in user.groups} - set(names)
        if unknown:
            msg = f"users: expected known groups, got {', '.join(sorted(unknown))}"
            raise ValueError(msg)
        return self

    @property
    def packages(self) -> frozenset[str]:
        """The names of the packages whose files are in the image."""
        return frozenset(self.rootfs.packages) | frozenset(
            self.when_debug.packages if self.debug else ()
        )

    @property
    def programs(self) -> tuple[str, ...]:
        """Patterns of the programs that are in the image."""
        return self.rootfs.programs + (self.when_debug.programs if self.debug else ())

    @property
    def guest_modules(self) -> tuple[str, ...]:
        """Modules of the kernel that the root file system has."""
        return self.kernel.guest_modules + (
            self.when_k3s.guest_modules if self.runtime == "k3s" else ()
        )

    def command_line(self, *, root_hash: bytes, data_blocks: int) -> str:
        """The kernel's command line: which root file system, then how the kernel behaves."""
        words = [f"blindllama.root={root_hash.hex()}", f"blindllama.root_blocks={data_blocks}"]
        words += self.kernel.command_line
        if self.debug:
            words += ["blindllama.debug=1", *self.when_debug.command_line]
        return " ".join(words)


def parse_spec(text: str, *, name: str = SPEC_NAME) -> OsImageSpec:
    """The specification written in this TOML text.

    Raises:
        SpecError: It is not TOML, lacks something, or says something unknown.
    """
    try:
        return OsImageSpec.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as exc:
        raise SpecError(f"{name} is not TOML: {exc}") from exc
    except ValidationError as exc:
        raise SpecError(f"{name} is malformed: {faults(exc)}") from exc


def read_spec(path: Path, *, debug: bool | None = None) -> OsImageSpec:
    """The specification in a file.

    Args:
        path: The file.
        debug: Replaces what the file says about being a debug image.

    Raises:
        SpecError: The file is missing or malformed.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as exc:
        raise SpecError(f"{path} cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise SpecError(f"{path.name} is not TOML: {exc}") from exc
    spec = parse_spec(text, name=path.name)
    return spec if debug is None else spec.model_copy(update={"debug": debug})
