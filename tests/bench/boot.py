"""A boot by stage as rows: the release of this checkout against a stock image, by turns."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import publication
from building_site import read_site
from pipeline import build_all
from supply_chain.progress import ConsoleProgress
from tests.bench.boot_times import ROOT, STAGES, measured
from tests.bench.paired import FEWEST_ROUNDS, Figure, Goal, figure_of

ANSWER_GOAL_S = 12.0
"""Of the guest's uptime at the first attested answer, on an idle machine."""
_ATTESTED = "attested answer"
_SAYS = {
    "firmware": "from QEMU's start to that of the UKI",
    "boot stub": "from there to the kernel's",
    _ATTESTED: "from there, the guest's uptime",
    "application": "from there",
}


def rows(rounds: int | None) -> Sequence[Figure]:
    """Each stage, and all of them; the release is made first, where it is not there or is old."""
    site = read_site(
        ROOT, environ=os.environ, progress=ConsoleProgress(), clock=lambda: datetime.now(UTC)
    )
    with site.workspace.exclusive(site.progress):
        publication.publish(site, build_all(site))
        return figures(measured(rounds or FEWEST_ROUNDS))


def figures(found: Mapping[str, Sequence[Mapping[str, float]]]) -> Sequence[Figure]:
    """The figures of what `measured` found."""
    rest = ", against a stock image"
    return (
        *(
            figure_of(
                f"boot, {stage}: {_SAYS[stage]}{rest}",
                [one[stage] for one in found["ours"]],
                [one[stage] for one in found["stock"]],
                Goal(at_most_s=ANSWER_GOAL_S) if stage == _ATTESTED else Goal(),
            )
            for stage in STAGES
        ),
        figure_of(
            f"boot, all of it, to the model's answer{rest}",
            [sum(one.values()) for one in found["ours"]],
            [sum(one.values()) for one in found["stock"]],
        ),
    )
