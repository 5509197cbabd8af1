"""How long a boot takes, by stage: `python -m tests.bench.boot_times [ROUNDS]`.

The released image and a stock one are booted by turns, so that the machine's mood hits both. The
stock image has the same kernel, disk, services and settings, and every unit and generator that
Debian's systemd and udev bring, where ours has the few that it names. All is seen from outside: by
what firmware and kernel print, and by the first answers. The kernel stamps its lines with its own
uptime; the line that came with the least delay tells at which moment that clock began.
"""

from __future__ import annotations

import json
import math
import os
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from building_site import Site, read_site
from deploy.qemu import release as deployed
from deploy.qemu import vm
from deploy.qemu.console import last_words
from os_image.build import build_os_image
from os_image.prune import UNITS
from os_image.rootfs import selected
from os_image.spec import OsImageSpec
from supply_chain.errors import BootError
from supply_chain.progress import ConsoleProgress
from tests.e2e.raw import attests

ROOT = Path(__file__).resolve().parents[2]
OUTPUT = ROOT / "build" / "boot-times.json"
ROUNDS = 3
LIMIT_S = 420.0
_POLL_S = 0.05
_FIRMWARE_ENDS = b"BdsDxe: starting"
_SYSTEMD_STARTS = b" systemd[1]: "
_STAMPED = re.compile(rb"\[ *(\d+\.\d{6})\] ")
"""A line of the kernel's log with the seconds since it started."""
STAGES = ("firmware", "boot stub", "attested answer", "application")
"""From QEMU's start to the UKI's; to the kernel's; from there, which is the guest's uptime, to a
quote through the ingress; and from there to the model."""
CLOCK_AHEAD = "the guest's clock ran ahead of this machine's"
_KEPT_FOR_STOCK = ("usr/lib/systemd/system-generators", "usr/lib/systemd/catalog")


def main(rounds: int) -> None:
    """Boot by turns, print the medians of each stage, write build/boot-times.json."""
    found = measured(rounds)
    medians = {
        image: {stage: statistics.median(one[stage] for one in runs) for stage in STAGES}
        for image, runs in found.items()
    }
    OUTPUT.write_text(json.dumps({"rounds": rounds, "seconds": found}, indent=1) + "\n")
    print(f"{'':16}{'ours':>8}{'stock':>8}   median seconds of {rounds} boots by turns")  # noqa: T201 - this is a command
    for stage in STAGES:
        print(f"{stage:16}{medians['ours'][stage]:8.1f}{medians['stock'][stage]:8.1f}")  # noqa: T201 - likewise


def measured(rounds: int) -> Mapping[str, Sequence[Mapping[str, float]]]:
    """Seconds of each stage of each boot of the release in `dist/`, `ours`, and of a `stock` image.

    Raises:
        BootError: There is no release, or a guest did not come up.
    """
    site = read_site(
        ROOT, environ=os.environ, progress=ConsoleProgress(), clock=lambda: datetime.now(UTC)
    )
    parts = deployed.release_parts(site.workspace, now=site.clock())
    with tempfile.TemporaryDirectory(prefix="boot-times-") as name:
        stock = build_os_image(
            stock_spec(site), inputs=site.inputs, out=Path(name) / "stock", progress=site.progress
        )
        images = {"ours": parts, "stock": replace(parts, os_disk=stock.disk)}
        found: dict[str, list[Mapping[str, float]]] = {image: [] for image in images}
        for number in range(rounds):
            order = list(images) if number % 2 == 0 else list(reversed(images))
            for image in order:
                found[image].append(_booted(Path(name) / "guest", images[image], site))
    return found


def stock_spec(site: Site) -> OsImageSpec:
    """Our image with all units and generators of the packages."""
    spec = site.os_image
    chosen = selected(site.lock.debian("rootfs"), spec)
    folder = site.inputs.unpacked(chosen).root / UNITS
    units = tuple(sorted(path.name for path in folder.iterdir() if not path.is_dir()))
    rootfs = spec.rootfs.model_copy(
        update={
            "units": units,
            "remove": tuple(
                pattern for pattern in spec.rootfs.remove if pattern not in _KEPT_FOR_STOCK
            ),
            "programs": (*spec.rootfs.programs, "usr/lib/systemd/*", "usr/bin/systemd-*"),
        }
    )
    return spec.model_copy(update={"rootfs": rootfs})


def _booted(directory: Path, parts: vm.Parts, site: Site) -> Mapping[str, float]:
    """Seconds of each stage of one boot; what the emulator spoilt is tried again.

    On a machine with much else to do the emulated kernel's clock may jump ahead of ours, by minutes;
    it then seems to have begun before the firmware did, and the stages mean nothing.
    """
    for attempt in range(1, vm.ATTEMPTS + 2):
        try:
            return checked(_one_boot(directory, parts, site))
        except BootError as exc:
            spoilt = vm.EMULATOR_PANIC in str(exc) or CLOCK_AHEAD in str(exc)
            if attempt > vm.ATTEMPTS or not spoilt:
                raise
    raise AssertionError("unreachable: the last attempt returns or raises")


def checked(stages: Mapping[str, float]) -> Mapping[str, float]:
    """The stages of a boot, if they can be true.

    Raises:
        BootError: One took less than no time.
    """
    if min(stages.values()) < 0:
        shown = ", ".join(f"{stage} {seconds:.1f} s" for stage, seconds in stages.items())
        raise BootError(f"{CLOCK_AHEAD}: {shown}; measure on an idle machine")
    return stages


def _one_boot(directory: Path, parts: vm.Parts, site: Site) -> Mapping[str, float]:
    guest = vm.start(directory, parts, now=site.clock(), port=vm.free_port())
    started = time.monotonic()
    clock = KernelClock(guest, started)
    try:
        firmware = _when(guest, started, lambda: _FIRMWARE_ENDS in clock.read())
        # Asking takes time in which no line is read: not before systemd has said its first word.
        _when(guest, started, lambda: _SYSTEMD_STARTS in clock.read())
        attested = _when(guest, started, lambda: attests(guest))
        healthy = _when(guest, started, lambda: vm.is_healthy(guest))
    finally:
        vm.down(directory)
    return {
        "firmware": firmware,
        "boot stub": clock.began - firmware,
        "attested answer": attested - clock.began,
        "application": healthy - attested,
    }


class KernelClock:
    """When the guest's kernel began to count, by the lines on its console."""

    def __init__(self, guest: vm.Guest, started: float) -> None:
        self._guest = guest
        self._started = started
        self._seen = 0
        self.began = math.inf
        """Seconds from the start of QEMU."""

    def read(self) -> bytes:
        """What the console says; each new line makes the moment more exact."""
        try:
            said = self._guest.console.read_bytes()
        except FileNotFoundError:
            return b""
        now = time.monotonic() - self._started
        for stamp in _STAMPED.findall(said, self._seen):
            self.began = min(self.began, now - float(stamp))
        self._seen = len(said)
        return said


def _when(guest: vm.Guest, started: float, happened: Callable[[], bool]) -> float:
    """Seconds from the start until it has happened.

    Raises:
        BootError: The guest has ended, or it takes too long.
    """
    while not happened():
        if not vm.is_running(guest.directory) or time.monotonic() - started > LIMIT_S:
            raise BootError("\n".join(["the guest did not come up:", *last_words(guest.console)]))
        time.sleep(_POLL_S)
    return time.monotonic() - started


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS)
