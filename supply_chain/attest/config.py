"""`chain.toml`: who owns a release's layout, who may carry out its steps, and how long it holds."""

from __future__ import annotations

import json
import re
import tomllib
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from blindllama.policy import GITHUB_ISSUER, GithubSource
from supply_chain.errors import BuildError, faults

if TYPE_CHECKING:
    from pathlib import Path
    from typing import ClassVar

CHAIN_NAME = "chain.toml"

_Text = Annotated[str, Field(min_length=1, max_length=2048)]
_Count = Annotated[int, Field(ge=1, le=16)]


class ChainError(BuildError):
    """`chain.toml` is missing, or does not say what it must."""

    code: ClassVar[str] = "build.chain"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class FileOwner(_Part):
    """A key of this machine, in the state folder."""

    kind: Literal["file"]


class SignerOwner(_Part):
    """A key that securesystemslib can sign with: a file, a hardware module, a cloud's service."""

    kind: Literal["signer"]
    uri: Annotated[str, Field(pattern=r"^[a-z][a-z0-9+.-]*:")]
    public: _Text
    """The PEM file of the public key, relative to the checkout."""


class Person(_Part):
    """A Sigstore identity."""

    identity: _Text
    issuer: _Text | None = None
    """None for the issuer of the Sigstore that signs the release."""
    github: GithubSource | None = None
    """What an identity of GitHub Actions must have been given to build."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.issuer == GITHUB_ISSUER) != (self.github is not None):
            raise ValueError(f"github: expected exactly when the issuer is {GITHUB_ISSUER}")
        return self


class IdentityOwner(Person):
    """Somebody who signs layouts as a Sigstore identity."""

    kind: Literal["sigstore"]


class BuilderOwner(_Part):
    """Whoever signs the release: a workflow, whose name has the ref in it and is new for each tag."""

    kind: Literal["builder"]


OwnerChoice = Annotated[
    FileOwner | SignerOwner | IdentityOwner | BuilderOwner, Field(discriminator="kind")
]


class Thresholds(_Part):
    """How many functionaries must have carried out each step with the same result."""

    engine: _Count = 1
    app_disk: Annotated[_Count, Field(alias="app-disk")] = 1
    os_image: Annotated[_Count, Field(alias="os-image")] = 1

    def by_step(self) -> dict[str, int]:
        """The thresholds by the names of their steps."""
        return self.model_dump(by_alias=True)


class ChainConfig(_Part):
    """What `chain.toml` says."""

    owners: Annotated[tuple[OwnerChoice, ...], Field(min_length=1, max_length=8)]
    valid_days: Annotated[int, Field(ge=1, le=3650)]
    renew_days: Annotated[int, Field(ge=0)]
    thresholds: Thresholds = Thresholds()
    rebuilders: tuple[Person, ...] = ()

    @model_validator(mode="after")
    def _check(self) -> Self:
        most = max(self.thresholds.by_step().values())
        if most > len(self.rebuilders) + 1:
            raise ValueError(
                f"thresholds: expected at most {len(self.rebuilders) + 1}, the builder and the "
                f"rebuilders, got {most}"
            )
        if self.renew_days >= self.valid_days:
            raise ValueError("renew_days: expected fewer than valid_days")
        for what in ("owners", "rebuilders"):
            named = getattr(self, what)
            if len(set(named)) != len(named):
                raise ValueError(f"{what}: expected each once")
        return self


def read_chain(path: Path) -> ChainConfig:
    """What the file says.

    Raises:
        ChainError: it cannot be read, or says something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise ChainError(f"{path}: {exc}; it is part of the checkout: restore it") from exc
    return parse_chain(text, what=str(path))


def parse_chain(text: str, *, what: str = CHAIN_NAME) -> ChainConfig:
    """What the text says.

    Raises:
        ChainError: it is not TOML, or says something else.
    """
    try:
        return ChainConfig.model_validate(_tuples(tomllib.loads(text)))
    except tomllib.TOMLDecodeError as exc:
        raise ChainError(f"{what}: not TOML: {exc}") from exc
    except ValidationError as exc:
        raise ChainError(f"{what}: {faults(exc)}") from exc


def with_owner(text: str, wanted: str, public: str = "") -> str:
    """The text of a `chain.toml` with another owner in it; every other line stays as it is.

    Args:
        text: What stands in the file.
        wanted: `file`, `builder`, `sigstore:IDENTITY`, or a securesystemslib signer URI.
        public: The PEM file of the public key of a signer URI, relative to the checkout.

    Raises:
        ChainError: the owner is none, or there is no one line that names the owners.
    """
    kind, _, rest = wanted.partition(":")
    choice = {"kind": "signer", "uri": wanted, "public": public}
    if wanted in {"file", "builder"}:
        choice = {"kind": wanted}
    elif kind == "sigstore":
        choice = {"kind": "sigstore", "identity": rest}
    # A basic TOML string takes every escape that JSON writes.
    table = ", ".join(f"{key} = {json.dumps(value)}" for key, value in choice.items())
    changed, count = re.subn(r"(?m)^owners = .*$", lambda _: f"owners = [{{ {table} }}]", text)
    if count != 1:
        raise ChainError(f"{CHAIN_NAME}: expected one line that begins with 'owners = '")
    parse_chain(changed, what=f"owner {wanted}")
    return changed


def _tuples(value: object) -> object:
    """The data with tuples for lists, which the strict types demand."""
    if isinstance(value, dict):
        return {key: _tuples(child) for key, child in value.items()}
    return tuple(_tuples(child) for child in value) if isinstance(value, list) else value
