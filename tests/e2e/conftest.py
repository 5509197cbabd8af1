"""One release and one guest for the whole session; everything in between is real."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest

import publication
from blindllama import AttestedSession
from building_site import Site, read_site
from deploy.qemu import vm
from os_image.build import OsImage, build_os_image
from os_image.spec import SPEC_NAME, read_spec
from pipeline import build_all
from standing import Published
from supply_chain.inputs.locked import LockedInputs
from supply_chain.progress import ConsoleProgress
from supply_chain.step import StepResult

ROOT = Path(__file__).resolve().parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever asks the session's guest comes last: no other guest has to share the machine with it."""
    here = Path(__file__).parent
    items.sort(
        key=lambda item: (
            item.path.is_relative_to(here) and "guest" in getattr(item, "fixturenames", ())
        )
    )


@pytest.fixture(scope="session")
def site() -> Site:
    """Return the checkout."""
    return read_site(
        ROOT, environ=os.environ, progress=ConsoleProgress(), clock=lambda: datetime.now(UTC)
    )


@pytest.fixture(scope="session")
def results(site: Site) -> Mapping[str, StepResult]:
    """Return the finished steps: built here, or kept when nothing has changed."""
    return build_all(site)


@pytest.fixture(scope="session")
def debug_image(site: Site, tmp_path_factory: pytest.TempPathFactory) -> OsImage:
    """Return the image of the same sources with a root shell on its console."""
    return build_os_image(
        read_spec(ROOT / "os_image" / SPEC_NAME, debug=True),
        inputs=LockedInputs.at(site.workspace),
        out=tmp_path_factory.mktemp("debug-image"),
        progress=site.progress,
    )


@pytest.fixture(scope="session")
def published(site: Site, results: Mapping[str, StepResult]) -> Published:
    """Return the signed release."""
    return publication.publish(site, results)


@pytest.fixture(scope="session")
def guest(site: Site, published: Published) -> Iterator[vm.Guest]:
    """Return the booted release; the boot's own retry covers a panic of the emulator."""
    assert published.folder.is_dir()
    running = publication.boot(site)
    try:
        yield running
    finally:
        vm.down(running.directory)


@pytest.fixture(scope="session")
def session(published: Published, guest: vm.Guest) -> Iterator[AttestedSession]:
    """Return a verified session with the guest."""
    with publication.connect(published, guest.url) as verified:
        yield verified
