"""Strict JSON: one reading of the bytes, or a `FormatError`.

The standard parser takes duplicate keys (last one wins), NaN, and nesting up to the recursion
limit. Two programs that read the same signed bytes differently are an attack, so all of these are
refused, and so is anything that is too large to be honest.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Never, TypeVar

from pydantic import BaseModel, JsonValue, ValidationError

from blindllama.errors import Code, FormatError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["JsonValue", "canonical_json", "parse_json", "parse_model"]

_Model = TypeVar("_Model", bound=BaseModel)

_DEEPEST = 32
"""Levels of nesting; the deepest document of the product has 12."""


def parse_json(data: bytes, *, limit: int, step: int, what: str = "document") -> JsonValue:
    """Return the JSON value that the bytes hold, and hold in one way only.

    Args:
        data: UTF-8 without a byte order mark.
        limit: Most bytes that are looked at.
        step: The check that asked, for the error.
        what: What the bytes claim to be, for the error.

    Raises:
        FormatError: `format.too_large`, `format.not_utf8`, `format.not_json`,
            `format.duplicate_key` or `format.too_deep`.
    """
    if len(data) > limit:
        raise FormatError(
            f"size of the {what}",
            code=Code.FORMAT_TOO_LARGE,
            step=step,
            expected=f"at most {limit} bytes",
            got=f"{len(data)} bytes",
        )
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as exc:
        raise FormatError(
            f"text of the {what}", code=Code.FORMAT_NOT_UTF8, step=step, expected="UTF-8"
        ) from exc
    try:
        value: JsonValue = json.loads(
            text, object_pairs_hook=_unique_keys, parse_constant=_no_constant
        )
    except _DuplicateKeyError as exc:
        raise FormatError(
            f"keys of the {what}",
            code=Code.FORMAT_DUPLICATE_KEY,
            step=step,
            expected="each key once",
            got=exc.key,
        ) from exc
    except RecursionError as exc:
        raise _too_deep(what, step) from exc
    except ValueError as exc:
        raise FormatError(
            f"text of the {what}", code=Code.FORMAT_NOT_JSON, step=step, expected="JSON"
        ) from exc
    _check_depth(value, what=what, step=step)
    return value


def parse_model(
    value: JsonValue, model: type[_Model], *, step: int, what: str = "document"
) -> _Model:
    """Return the value as the given strict pydantic model.

    Raises:
        FormatError: `format.schema` when a field is unknown, missing or of another type.
    """
    try:
        return model.model_validate_json(json.dumps(value))
    except ValidationError as exc:
        first = exc.errors(include_url=False, include_context=False)[0]
        place = ".".join(str(part) for part in first["loc"]) or "the top"
        raise FormatError(
            f"{what}, at {place}: {first['msg']}", code=Code.FORMAT_SCHEMA, step=step
        ) from exc


def canonical_json(value: object) -> bytes:
    """Return the value as sorted, unspaced UTF-8 JSON: equal values give equal bytes."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


class _DuplicateKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__(key)
        self.key = key


def _unique_keys(pairs: list[tuple[str, JsonValue]]) -> Mapping[str, JsonValue]:
    found: dict[str, JsonValue] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(key)
        found[key] = value
    return found


def _no_constant(name: str) -> Never:
    raise ValueError(f"{name} is not JSON")


def _check_depth(value: JsonValue, *, what: str, step: int) -> None:
    level = [value]
    for _ in range(_DEEPEST + 1):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
        ]
        if not level:
            return
    raise _too_deep(what, step)


def _too_deep(what: str, step: int) -> FormatError:
    return FormatError(
        f"nesting of the {what}",
        code=Code.FORMAT_TOO_DEEP,
        step=step,
        expected=f"at most {_DEEPEST} levels",
    )
