"""The list of models that an OpenAI API serves.

Source: OpenAI API, `/v1/models`.
"""

from __future__ import annotations

from typing import Final

from pydantic import BaseModel, ConfigDict, Field

from blindllama._strict_json import parse_json, parse_model

__all__ = ["MODELS_LIMIT_BYTES", "MODELS_PATH", "model_names"]

MODELS_PATH: Final = "/v1/models"
MODELS_LIMIT_BYTES: Final = 1 << 18

_STEP = 10


class _Model(BaseModel):
    """What is needed of a model; servers say more."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    id: str


class _Models(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", strict=True)

    data: tuple[_Model, ...] = Field(strict=False)


def model_names(content: bytes) -> tuple[str, ...]:
    """Return the names in a list of models.

    Raises:
        FormatError: `format.*`; it is no such list, or larger than `MODELS_LIMIT_BYTES`.
    """
    what = "list of models"
    value = parse_json(content, limit=MODELS_LIMIT_BYTES, step=_STEP, what=what)
    return tuple(one.id for one in parse_model(value, _Models, step=_STEP, what=what).data)
