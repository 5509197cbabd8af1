"""Which licences a model may have without anybody's word: those that set no conditions on use."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from supply_chain.errors import BuildError

if TYPE_CHECKING:
    from engine.spec import EngineSpec

FREE = frozenset(
    {
        "Apache-2.0",
        "BSD-2-Clause",
        "BSD-3-Clause",
        "BSL-1.0",
        "CC-BY-4.0",
        "CC-BY-SA-4.0",
        "CC0-1.0",
        "CDLA-Permissive-2.0",
        "ISC",
        "MIT",
        "MIT-0",
        "MPL-2.0",
        "Unlicense",
    }
)
"""SPDX identifiers of licences under which anybody may serve the model to anybody, for any purpose.

Community licences, "responsible" and non-commercial ones are not among them: they forbid some uses
or some users, so that only who serves the model can say that they do not apply.
"""

_FREE = frozenset(name.casefold() for name in FREE)


class LicenceError(BuildError):
    """A model's licence is not the declared one, or forbids something and was not accepted."""

    code: ClassVar[str] = "engine.licence"


def check_licence(spec: EngineSpec, *, stated: str) -> None:
    """Nothing: the weights state the declared licence, and it is free or accepted by name.

    Args:
        spec: What is asked for.
        stated: The licence in the weights' own metadata; empty when they state none.

    Raises:
        LicenceError: One of the two is not so.
    """
    if stated.casefold() != spec.licence.casefold():
        raise LicenceError(f"licence of the weights: expected {spec.licence}, got {stated!r}")
    check_accepted(spec.licence, spec.accept_licence)


def check_accepted(licence: str, accepted: str | None) -> None:
    """Nothing: a licence is free, or was accepted by its name.

    Raises:
        LicenceError: It is not.
    """
    if licence.casefold() in _FREE or accepted == licence:
        return
    said = "none" if accepted is None else repr(accepted)
    raise LicenceError(
        f"licence {licence} may forbid what you do with the model: expected an acceptance of "
        f"it by name, got {said}; read it, and if its conditions hold for everybody whom you "
        f'serve, write into the engine\'s description: accept_licence = "{licence}"'
    )
