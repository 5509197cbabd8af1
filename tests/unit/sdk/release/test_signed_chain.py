"""Lies of who signs, in the links and in the layout: row S5 of ATTACKS.

Each is ONE change to an honest release, made before the signature, so every signature is genuine,
and has its own code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from blindllama.errors import Code
from supply_chain.attest.owner import owner_key
from supply_chain.digest import Sha256
from tests.simulators.release_attacks import EVIL, OTHER, refusal
from tests.simulators.signed_release import PRODUCTS, Hooks, LinkContent, make_signed_release

PRODUCTS_OF_ENGINE = {n: d for n, d in PRODUCTS.items() if n.startswith("engine/")}


def products(step: str, made: Mapping[str, Sha256]) -> Callable[[LinkContent], LinkContent]:
    return lambda content: replace(content, products=made) if content.step == step else content


def material(step: str, name: str) -> Callable[[LinkContent], LinkContent]:
    """A hook that adds one material to a step's link, or gives it another digest."""
    return lambda content: (
        replace(content, materials={**content.materials, name: EVIL})
        if content.step == step
        else content
    )


SIGNED: dict[str, tuple[Code, int, Hooks]] = {
    "S5 a link of another identity": (
        Code.BUNDLE_IDENTITY,
        3,
        Hooks(identities={"link:os-image": OTHER}),
    ),
    "S5 an input that is an earlier product in disguise": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=material("os-image", "engine/model.gguf")),
    ),
    "S5 a material that no rule covers": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=material("measure", "somewhere/else")),
    ),
    "S5 a product that no rule covers": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=products("engine", PRODUCTS_OF_ENGINE | {"engine/extra": EVIL})),
    ),
    "S5 a step that used other bytes than the last one made": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=material("app-disk", "engine/model.gguf")),
    ),
    "S5 a required product is missing": (
        Code.LINK_ARTIFACT_RULE,
        3,
        Hooks(link=products("engine", {"engine/model.gguf": EVIL})),
    ),
    "S5 a layout without a step": (
        Code.LAYOUT_STEPS,
        3,
        Hooks(steps=lambda steps: [step for step in steps if step.name != "measure"]),
    ),
    "S5 a layout in another order": (
        Code.LAYOUT_STEPS,
        3,
        Hooks(steps=lambda steps: [steps[2], *steps[:2], steps[3]]),
    ),
}


@pytest.mark.parametrize("attack", SIGNED)
def test_signed_lies_are_refused(state: Path, attack: str) -> None:
    code, step, hooks = SIGNED[attack]
    error = refusal(make_signed_release(state, hooks=hooks))
    assert (error.code, error.step) == (code, step), str(error)


def test_s5_a_layout_of_an_unknown_owner(state: Path, tmp_path: Path) -> None:
    hooks = Hooks(layout_owner=lambda _: owner_key(tmp_path))
    assert refusal(make_signed_release(state, hooks=hooks)).code is Code.LAYOUT_UNKNOWN_OWNER
