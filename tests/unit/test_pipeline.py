"""The declared steps, the layout made from them, and the steps that clients demand are the same."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

from blindllama._release.chain import DISKS, FILES, MEASUREMENTS_PRODUCT
from blindllama._release.layout import STEPS
from building_site import Site, read_site
from pipeline import declared_steps
from supply_chain.attest.chain import layout_steps
from supply_chain.progress import SilentProgress


def site(checkout: Path) -> Site:
    return read_site(
        checkout,
        environ=os.environ,
        progress=SilentProgress(),
        clock=lambda: datetime.now(UTC),
    )


def test_clients_demand_the_declared_steps(checkout: Path) -> None:
    here = site(checkout)
    steps = layout_steps(declared_steps(here), here.chain.thresholds.by_step())
    assert tuple(step.name for step in steps) == STEPS
    made = {product for step in steps for product in step.products}
    assert {*DISKS, *FILES.values(), MEASUREMENTS_PRODUCT} <= made


def test_thresholds_are_of_declared_steps(checkout: Path) -> None:
    here = site(checkout)
    declared = {step.name for step in declared_steps(here)}
    assert here.chain.thresholds.by_step().keys() == declared - {"measure"}
