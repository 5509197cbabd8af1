"""What each code means and what to do about it: `errors.toml`, read when somebody asks.

The pages of the docs, the reports and the command line all take their words from there.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from blindllama.errors import Code

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Reason", "catalogue"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reason:
    """One code, for people."""

    code: Code
    step: int | None
    """The check that refuses with it; None for what any check may meet."""
    because: str
    """What was wrong, so that it completes "refused because: "."""
    advice: str
    """What whoever sees it should do, in whole sentences."""


@cache
def catalogue() -> Mapping[Code, Reason]:
    """Return all reasons, in the order of `Code`."""
    families = tomllib.loads((files("blindllama") / "errors.toml").read_text("utf-8"))
    return MappingProxyType({code: _reason(code, families) for code in Code})


def _reason(code: Code, families: Mapping[str, Any]) -> Reason:
    family, _, name = code.value.partition(".")
    common = families[family]
    entry = common["because"][name]
    own = {"because": entry} if isinstance(entry, str) else entry
    return Reason(
        code=code,
        step=own.get("step", common.get("step")),
        because=own["because"],
        advice=own.get("advice", common["advice"]),
    )
