"""What a deployment has to do: what is wanted, what stands, and what is known to be ours.

A pure decision. `deploy.azure --plan` prints it, and a run carries out the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from deploy.azure.errors import AzureError, Reason
from deploy.azure.wanted import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence

    from deploy.azure.arm import Standing
    from deploy.azure.wanted import Wanted


class Action(StrEnum):
    """What is done with a resource."""

    MAKE = "make"
    """It does not exist."""
    KEEP = "keep"
    """It is what is wanted."""
    SET = "set again"
    """It exists, and is set to what is wanted: something differs, failed, or may have been changed."""
    REPLACE = "replace"
    """It exists otherwise, and is deleted and made again."""
    USE = "use"
    """It exists, somebody else made it, and it stays when the deployment goes."""
    REMOVE = "remove"
    """This deployment made it and wants it no more."""


AWAITING = frozenset({"ReadyToUpload", "ActiveUpload"})
"""States of a disk that is not filled yet."""
_LOOSE = "Unattached"
"""The state of a disk whose upload was ended, and of which no machine was made."""
_DONE = "Succeeded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One resource and what is done with it."""

    action: Action
    identifier: str
    wanted: Wanted | None = None
    """None for what is removed."""
    uploads: bool = False
    """Whether the disk is filled afterwards."""


def plan(
    wanted: Sequence[Wanted],
    standing: Mapping[str, Standing | None],
    made: Iterable[str],
    *,
    deployment: str,
    filled: Container[str] = (),
) -> list[Step]:
    """Everything that has to be done, in order.

    Args:
        wanted: What should be there, each after what it needs.
        standing: What is there, for each of them.
        made: What the record says this deployment has made.
        deployment: Its name, as tags have it.
        filled: Disks of which the record says that they hold their whole image.

    Raises:
        AzureError: Something stands there that is not ours.
    """
    whole = {one.identifier for one in wanted if _is_whole(one, wanted, standing, filled)}
    steps = [_step(one, standing[one.identifier], deployment, whole) for one in wanted]
    kept = {one.identifier.lower() for one in wanted}
    stale = [identifier for identifier in made if identifier.lower() not in kept]
    return steps + [
        Step(action=Action.REMOVE, identifier=identifier) for identifier in removal_order(stale)
    ]


def removal_order(identifiers: Iterable[str]) -> list[str]:
    """These resources so that nothing is removed while another one of them needs it."""
    return sorted(identifiers, key=lambda it: kind_of(it).rank, reverse=True)


def _is_whole(
    disk: Wanted,
    wanted: Sequence[Wanted],
    standing: Mapping[str, Standing | None],
    filled: Container[str],
) -> bool:
    """Whether a disk was filled: the record says so, or something stands that was made of it."""

    def made_of_it(one: Wanted) -> bool:
        found = standing[one.identifier]
        named = f'"{disk.identifier}"' in json.dumps(one.body)
        return named and found is not None and found.digest == one.digest

    return disk.identifier in filled or any(made_of_it(one) for one in wanted)


def _step(one: Wanted, found: Standing | None, deployment: str, whole: Container[str]) -> Step:
    uploads = one.image is not None
    if found is None:
        return Step(action=Action.MAKE, identifier=one.identifier, wanted=one, uploads=uploads)
    if found.deployment != deployment:
        # A group is a place, which may be somebody else's; everything in it is ours or is not.
        if one.kind is Kind.GROUP:
            return Step(action=Action.USE, identifier=one.identifier, wanted=one)
        raise AzureError(
            Reason.FOREIGN,
            f"{one.kind.value} {one.name}: expected none, or one that deployment {deployment!r} "
            f"has made, got one of {found.deployment or 'somebody else'}; choose another name or "
            "resource group in the configuration, or remove it",
        )
    state = found.properties.get("diskState")
    if uploads and state == _LOOSE and one.identifier not in whole:
        # Its access was ended before it was whole, by somebody else or by time; it cannot be
        # opened again, and what is in it would be found out by the machine that does not boot.
        return Step(action=Action.REPLACE, identifier=one.identifier, wanted=one, uploads=True)
    return Step(
        action=_action(one, found),
        identifier=one.identifier,
        wanted=one,
        uploads=uploads and state in AWAITING,
    )


def _action(one: Wanted, found: Standing) -> Action:
    if found.digest != one.digest:
        return Action.REPLACE if one.remade else Action.SET
    # What failed, or was interrupted, is asked for once more: Azure then waits for it or mends it.
    return Action.KEEP if found.state == _DONE and not one.set_again else Action.SET
