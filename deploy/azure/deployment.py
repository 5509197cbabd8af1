"""A deployment carried out: resources made one after the other, disks filled, all of it removed.

Every step is written down before Azure is asked, so a run that is interrupted, at any place and by
anything, is gone on with by the next one, and whatever it has left is removed by `take_down`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from deploy.azure.arm import POLL_S
from deploy.azure.errors import AzureError, Reason
from deploy.azure.plan import AWAITING, Action, Step, plan, removal_order
from deploy.azure.upload import Uploaded, upload
from deploy.azure.wanted import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from deploy.azure.arm import Arm, Standing
    from deploy.azure.record import Record
    from deploy.azure.wanted import Wanted
    from supply_chain.progress import Progress

_MOST_LOOKS = 900
"""How often a resource is looked at with which something goes on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """One deployment of one name."""

    name: str
    arm: Arm
    record: Record
    journals: Path
    """The folder of the journals of uploads."""
    progress: Progress
    sleep: Callable[[float], None] = time.sleep

    def plan(self, wanted: Sequence[Wanted]) -> list[Step]:
        """What would be done; Azure is asked and nothing is changed.

        Raises:
            AzureError: Something that is not ours is in the way, or Azure does not answer.
        """
        with self.progress.step("looking at what stands in Azure"):
            standing = {one.identifier: self.arm.standing(one.identifier) for one in wanted}
        return plan(
            wanted,
            standing,
            self.record.made,
            deployment=self.name,
            filled=self.record.filled,
        )

    def carry_out(self, steps: Sequence[Step]) -> None:
        """What is planned is done.

        Raises:
            AzureError: Azure refused something or failed; run again, it goes on.
        """
        for step in steps:
            self._carry_out(step)

    def _carry_out(self, step: Step) -> None:
        title, wanted = f"{step.action} {_title(step.identifier)}", step.wanted
        if wanted is None:
            with self.progress.step(title):
                self._remove(step.identifier)
            return
        if step.action is Action.USE:
            return
        if step.action is Action.SET:
            step = self._settled(wanted)
        # Also what is kept: a record that was lost is made again by the tags that are found.
        self.record.begin(step.identifier)
        if step.action is not Action.KEEP:
            with self.progress.step(title):
                if step.action is Action.REPLACE:
                    self.arm.delete(step.identifier)
                    self.record.gone(step.identifier)
                    self.record.begin(step.identifier)
                self.arm.put(step.identifier, wanted.tagged(self.name))
        if step.uploads:
            self._fill(wanted)

    def _settled(self, wanted: Wanted) -> Step:
        """What has to be done when Azure has finished what an earlier run has begun.

        Raises:
            AzureError: It does not finish.
        """
        found = self._standing(wanted.identifier)
        standing = {wanted.identifier: found}
        (step,) = plan([wanted], standing, (), deployment=self.name, filled=self.record.filled)
        return step

    def _standing(self, identifier: str) -> Standing | None:
        """The resource as it stands once nothing goes on with it; None when there is none."""
        looks = 0
        while (found := self.arm.standing(identifier)) is not None and found.busy:
            looks += 1
            if looks == _MOST_LOOKS:
                raise AzureError(
                    Reason.CONFLICT,
                    f"{_title(identifier)}: expected Azure to finish what it was asked for, got "
                    f"state {found.state} for half an hour; look at it in Azure, then run the "
                    "same again",
                )
            self.sleep(POLL_S)
        return found

    def _fill(self, disk: Wanted) -> Uploaded | None:
        """The disk holds its image.

        Raises:
            AzureError: The upload failed, or Azure does not take what was uploaded.
        """
        if disk.image is None:
            return None
        with self.progress.step(f"upload {_title(disk.identifier)}"):
            done = upload(
                disk.image,
                lambda: self.arm.grant(disk.identifier),
                journals=self.journals,
                progress=self.progress,
                sleep=self.sleep,
            )
            self.record.fill(disk.identifier)
            self.arm.revoke(disk.identifier)
        found = self.arm.standing(disk.identifier)
        state = "gone" if found is None else str(found.properties.get("diskState"))
        if state == "gone" or state in AWAITING:
            raise AzureError(
                Reason.DISK,
                f"{_title(disk.identifier)}: expected a filled disk, got one in state {state}; "
                "delete it in Azure, then run the same again",
            )
        return done

    def take_down(self) -> list[str]:
        """Remove what the record names, and nothing else.

        Returns:
            What was not removed, and why, a line each.

        Raises:
            AzureError: Azure refused something or failed; run again, it goes on.
        """
        left: list[str] = []
        for identifier in removal_order(self.record.made):
            with self.progress.step(f"remove {_title(identifier)}"):
                left += self._remove(identifier)
        return left

    def _remove(self, identifier: str) -> list[str]:
        found = self._standing(identifier)
        if found is None:
            self.record.gone(identifier)
            return []
        if found.deployment != self.name:
            # It was begun and never made, or removed and made anew: by somebody else.
            self.record.gone(identifier)
            return [f"{identifier}: another has made it"]
        if kind_of(identifier) is Kind.GROUP and (inside := self.arm.contents(identifier)):
            # A group takes everything with it that is in it, whoever made that.
            return [f"{identifier}: holds what others have made, for example {inside[0]}"]
        self.arm.delete(identifier)
        self.record.gone(identifier)
        return []


def _title(identifier: str) -> str:
    return f"{kind_of(identifier).value.rpartition('/')[2]} {identifier.rpartition('/')[2]}"
