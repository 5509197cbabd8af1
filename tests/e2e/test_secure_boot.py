"""A machine with own keys of Secure Boot: it starts what they signed, as predicted, and no more."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from blindllama import Policy, VerificationError, verify_and_connect, verify_evidence
from blindllama.errors import Code
from blindllama.measurements import PlatformMeasurements, PlatformName, expected_pcrs
from building_site import Site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from deploy.qemu.console import console_tail
from deploy.qemu.machine import Firmware
from os_image.secure_boot.build import VARIABLES_NAME, build_signed_image
from os_image.secure_boot.keys import create_keys, read_signing_key
from pipeline import MEASURE, MEASUREMENTS, OS_IMAGE
from standing import Published
from supply_chain.step import StepResult
from tests.e2e.raw import attests, claimed_evidence

pytestmark = pytest.mark.e2e

NONCE = bytes(range(32))
WAIT_S = 150.0
REFUSED = "Access Denied"
"""What OVMF says of a program that no entry of db stands for."""
STARTED = "BdsDxe: starting Boot0001"
"""What it says of the first boot entry, the disk; after it comes its own shell."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signed:
    """A signed image and the machine that it is for."""

    folder: Path
    expected: Mapping[str, PlatformMeasurements]


@pytest.fixture(scope="module")
def signed(
    site: Site, results: Mapping[str, StepResult], tmp_path_factory: pytest.TempPathFactory
) -> Signed:
    # What signs is part of no step.
    site.fetch("signing")
    return _sign(site, results, tmp_path_factory.mktemp("signed"))


def _sign(site: Site, results: Mapping[str, StepResult], folder: Path) -> Signed:
    keys = folder / "keys"
    certificates = create_keys(keys, passphrase=None, now=site.clock())
    build_signed_image(
        results[OS_IMAGE].path("os.img").parent,
        results[MEASURE].path(MEASUREMENTS),
        key=read_signing_key(keys, passphrase=None),
        certificates=certificates,
        inputs=site.inputs,
        out=folder,
    )
    document = (folder / "measurements.json").read_bytes()
    wire = TypeAdapter(dict[str, object]).validate_json(document)["platforms"]
    adapter = TypeAdapter(dict[str, PlatformMeasurements])
    return Signed(folder=folder, expected=adapter.validate_json(_json(wire)))


def _json(value: object) -> bytes:
    return TypeAdapter(object).dump_json(value)


def _parts(site: Site, *, os_disk: Path, variables: Path) -> vm.Parts:
    parts = deployed.release_parts(site.workspace, now=site.clock())
    firmware = Firmware(code=parts.firmware.code, variables=variables)
    return replace(parts, os_disk=os_disk, firmware=firmware)


def test_the_signed_image_boots_as_predicted(
    site: Site, published: Published, signed: Signed, tmp_path: Path
) -> None:
    """Every register is the predicted one, PCR 7 with the keys among them; checks 6 to 9 pass."""
    parts = _parts(site, os_disk=signed.folder / "os.img", variables=signed.folder / VARIABLES_NAME)
    guest = vm.boot(
        tmp_path / "guest", parts, now=site.clock(), ready=attests, progress=site.progress
    )
    try:
        claimed = claimed_evidence(guest.url, NONCE)
        with pytest.raises(VerificationError) as caught:
            verify_and_connect(guest.url, release=published.evidence, policy=published.policy)
    finally:
        vm.down(guest.directory)
    # The twin: by the release's own measurements it is another machine.
    assert caught.value.code == Code.MEASUREMENT_MISMATCH
    assert str(caught.value).startswith("PCR 4, 7 differ ")
    roots = Policy.from_file(published.policy).vtpm.roots
    expected = expected_pcrs(
        PlatformName.QEMU_SWTPM, signed.expected[PlatformName.QEMU_SWTPM.value]
    )
    assert len(expected.values) == 12
    verify_evidence(
        claimed.document,
        expected=expected,
        platform=PlatformName.QEMU_SWTPM,
        roots=frozenset(bytes.fromhex(root) for root in roots),
        nonce=NONCE,
        spki=claimed.spki,
        now=datetime.now(UTC),
    )


@pytest.mark.parametrize("who", ["somebody else", "nobody"])
def test_what_others_signed_does_not_start(
    site: Site,
    published: Published,
    results: Mapping[str, StepResult],
    signed: Signed,
    tmp_path: Path,
    who: str,
) -> None:
    """The firmware refuses the UKI before a byte of it runs."""
    disk = published.folder / deployed.OS_DISK
    if who == "somebody else":
        disk = _sign(site, results, tmp_path).folder / "os.img"
    parts = _parts(site, os_disk=disk, variables=signed.folder / VARIABLES_NAME)
    guest = vm.start(tmp_path / "guest", parts, now=site.clock(), port=None)
    try:
        deadline = time.monotonic() + WAIT_S
        while REFUSED not in _console(guest) and time.monotonic() < deadline:
            time.sleep(0.5)
        said = _console(guest)
    finally:
        vm.down(guest.directory)
    assert REFUSED in said
    assert STARTED not in said


def _console(guest: vm.Guest) -> str:
    return "\n".join(console_tail(guest.console, 1000))
