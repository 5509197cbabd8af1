"""The declared steps, the layout made from them, and the steps that clients demand are the same."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app_disk.manifest import Fault, ManifestError
from app_disk.source import DEFAULT_APP
from blindllama._release.chain import DISKS, FILES, MEASUREMENTS_PRODUCT
from blindllama._release.layout import STEPS
from building_site import Site, find_app, read_site, source_files
from pipeline import build_all, declared_steps, fetch_for
from supply_chain.attest.chain import layout_steps
from supply_chain.errors import BuildError, FetchError
from supply_chain.progress import SilentProgress
from supply_chain.workspace import Workspace


def site(checkout: Path, app: str = DEFAULT_APP) -> Site:
    return read_site(
        checkout,
        environ=os.environ,
        progress=SilentProgress(),
        clock=lambda: datetime.now(UTC),
        app=app,
    )


@pytest.mark.parametrize("app", ["llm", "hello"])
def test_clients_demand_the_declared_steps(checkout: Path, app: str) -> None:
    here = site(checkout, app)
    steps = layout_steps(declared_steps(here), here.chain.thresholds.by_step())
    assert tuple(step.name for step in steps) == STEPS
    made = {product for step in steps for product in step.products}
    assert {*DISKS, *FILES.values(), MEASUREMENTS_PRODUCT} <= made


def test_thresholds_are_of_declared_steps(checkout: Path) -> None:
    here = site(checkout)
    declared = {step.name for step in declared_steps(here)}
    assert here.chain.thresholds.by_step().keys() == declared - {"measure"}


def test_an_application_without_a_model_has_the_word_none_for_an_engine(
    checkout: Path, tmp_path: Path
) -> None:
    here = site(checkout, "hello")
    engine, disk, *_ = declared_steps(here)

    engine.build(tmp_path)

    assert (engine.inputs, engine.products) == ({}, ("manifest.json",))
    assert json.loads((tmp_path / "manifest.json").read_bytes()) == {
        "kind": "none",
        "name": "hello",
    }
    assert here.release_name == "hello"
    assert disk.parameters == {"app": "app_disk/apps/hello", "runtime": "podman"}
    assert "source/app_disk/apps/hello/manifests/ingress.yaml" in source_files(here)


def test_the_disk_depends_on_its_own_manifests_and_on_no_others(checkout: Path) -> None:
    disk = declared_steps(site(checkout, "hello"))[1]

    apps = {name.split("/")[2] for name in disk.code if name.startswith("app_disk/apps")}
    assert apps == {"hello"}


@pytest.mark.parametrize("app", ["absent", "..", "/tmp", "app_disk"])
def test_an_application_is_inside_the_checkout(checkout: Path, app: str) -> None:
    assert find_app(checkout, "app_disk/apps/hello") == find_app(checkout, "hello")
    with pytest.raises(BuildError, match=f"application {app}: expected one of hello, llm"):
        find_app(checkout, app)


def test_only_what_the_steps_are_made_from_is_fetched(checkout: Path, tmp_path: Path) -> None:
    steps = declared_steps(site(checkout))
    here = replace(site(checkout), workspace=Workspace.at(tmp_path, {}), offline=True)
    wanted = {digest for step in steps for digest in step.inputs.values()}
    everything = {item.sha256 for item in here.lock.inputs()}
    assert wanted < everything

    with pytest.raises(FetchError, match=f"and {len(wanted) - 1} other inputs of the lock"):
        fetch_for(here, steps)

    # PyTorch is nobody's business who brings no checkpoint.
    torch = {one.sha256 for one in here.lock.debian("converter") if one.name == "python3-torch"}
    assert torch
    assert not torch & wanted


@pytest.mark.root
def test_an_application_that_serves_another_engine_ends_the_build_before_any_work(
    checkout: Path, tmp_path: Path
) -> None:
    here = site(checkout)
    other = replace(
        here,
        engine=here.engine.model_copy(update={"name": "other"}),
        workspace=Workspace.at(tmp_path, {}),
    )
    with pytest.raises(ManifestError, match="--model other, as engine.toml has it") as caught:
        build_all(other)
    assert caught.value.fault is Fault.ENGINE
    # Nothing was fetched, and no step has run.
    assert not list(tmp_path.iterdir())
