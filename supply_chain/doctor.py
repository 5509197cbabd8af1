"""What a machine must have for `invoke release`: each thing looked at, none of it changed.

A check is one line: what was looked at, what was found, and, where that will not do, what to do.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain.errors import BuildError
from supply_chain.host import BOOT_PROGRAMS, BUILD_PROGRAMS, missing_packages
from supply_chain.isolation import without_network

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

DISK_BYTES = 5 * 10**9
"""What a build from nothing takes, cache and products together."""
MEMORY_BYTES = 4 * 2**30
"""A guest has 2 GiB, and the build of a file system image about one."""
_KEYRINGS = Path("/usr/share/keyrings")
_OLDEST_PYTHON = (3, 11)
_CLOCK_YEAR = 2026
"""No release was made before; a clock that says so is wrong, and every signature would be too."""


class Verdict(StrEnum):
    """What a finding means for `invoke release`."""

    GOOD = "good"
    NOTE = "note"
    """It works, with a difference that one may want to know of."""
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: Verdict
    found: str
    remedy: str = ""
    """What to do; empty when nothing has to be done."""

    def __str__(self) -> str:
        """A line, and the remedy below it."""
        mark = {Verdict.GOOD: "ok  ", Verdict.NOTE: "note", Verdict.BAD: "BAD "}[self.verdict]
        line = f"{mark}  {self.what:<14}{self.found}"
        return f"{line}\n      {'':<14}{self.remedy}" if self.remedy else line


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What the checks ask of a machine; taken apart so that they can be asked of any."""

    python: tuple[int, int]
    user: int
    """Effective user id; 0 is root."""
    debian: str
    """`ID` and `VERSION_ID` of /etc/os-release, `debian 12`."""
    free_bytes: int
    memory_bytes: int
    cores: int
    missing: tuple[str, ...]
    """Debian packages that a build or a boot needs and that are not there."""
    keyring: bool
    namespaces: bool
    """Whether this process may make network namespaces."""
    kvm: bool
    """Whether /dev/kvm is there and may be opened; a boot tries it."""
    port: int
    port_free: bool
    year: int


def examine(machine: Machine) -> Iterator[Finding]:
    """Each finding about a machine, in the order in which a newcomer would meet them."""
    yield _finding(
        "Python",
        machine.python >= _OLDEST_PYTHON,
        ".".join(map(str, machine.python)),
        "install Python 3.11 or newer, remove .venv, and run ./do again",
    )
    yield _system(machine.debian)
    yield _finding(
        "rights",
        machine.user == 0,
        "root" if machine.user == 0 else f"user {machine.user}",
        "run the commands with sudo: the locked tools run in a root of their own",
    )
    yield _finding(
        "namespaces",
        machine.namespaces,
        "can be made" if machine.namespaces else "are forbidden here",
        "a build cuts its steps off from the network: use root, and in a container --privileged",
    )
    yield _finding(
        "keyring",
        machine.keyring,
        "of Debian's archive" if machine.keyring else "missing",
        "apt-get install debian-archive-keyring",
    )
    yield _programs(machine)
    yield _size(
        "disk", machine.free_bytes, DISK_BYTES, "free some, or move the cache: BLINDLLAMA_CACHE"
    )
    yield _size("memory", machine.memory_bytes, MEMORY_BYTES, "close something, or add swap")
    if machine.cores < 2:
        yield Finding(
            what="cores", verdict=Verdict.NOTE, found="1", remedy="the guest has 2: it will be slow"
        )
    else:
        yield Finding(what="cores", verdict=Verdict.GOOD, found=str(machine.cores))
    yield _kvm(machine.kvm)
    yield Finding(
        what="port",
        verdict=Verdict.GOOD if machine.port_free else Verdict.NOTE,
        found=f"{machine.port} is {'free' if machine.port_free else 'taken'}",
        remedy="" if machine.port_free else "the guest will have another one, or: boot.up --port N",
    )
    yield _finding(
        "clock",
        machine.year >= _CLOCK_YEAR,
        f"says {machine.year}",
        "set it: certificates of ten minutes are checked against it",
    )


def look(home: Path, *, port: int, now: datetime) -> Machine:
    """This machine, as far as the checks ask.

    Args:
        home: Where a build would write.
        port: Where a guest would listen.
        now: What the machine's clock says.
    """
    place = next(path for path in (home, *home.parents) if path.exists())
    return Machine(
        python=sys.version_info[:2],
        user=os.geteuid(),
        debian=_release(Path("/etc/os-release")),
        free_bytes=shutil.disk_usage(place).free,
        memory_bytes=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        cores=len(os.sched_getaffinity(0)),
        missing=tuple(missing_packages([*BUILD_PROGRAMS, *BOOT_PROGRAMS])),
        keyring=any(_KEYRINGS.glob("debian-archive-keyring.*")),
        namespaces=_namespaces(),
        kvm=os.access("/dev/kvm", os.R_OK | os.W_OK),
        port=port,
        port_free=_free(port),
        year=now.year,
    )


def bad(findings: Iterable[Finding]) -> list[Finding]:
    """Those that would end a release."""
    return [finding for finding in findings if finding.verdict is Verdict.BAD]


def _finding(what: str, good: bool, found: str, remedy: str) -> Finding:  # noqa: FBT001 - a condition, named at each call
    verdict = Verdict.GOOD if good else Verdict.BAD
    return Finding(what=what, verdict=verdict, found=found, remedy="" if good else remedy)


def _system(debian: str) -> Finding:
    if debian in {"debian 12", "debian 13"}:
        return Finding(what="system", verdict=Verdict.GOOD, found=debian)
    if debian.startswith("debian"):
        return Finding(
            what="system",
            verdict=Verdict.NOTE,
            found=debian,
            remedy="tested are Debian 12 and 13; the tools come from the lock, so it may well work",
        )
    return Finding(
        what="system",
        verdict=Verdict.BAD,
        found=debian,
        remedy="inputs come from the archive that apt knows, which must be Debian's: use a container "
        "of Debian 13, with --privileged",
    )


def _programs(machine: Machine) -> Finding:
    if not machine.missing:
        return Finding(what="programs", verdict=Verdict.GOOD, found="all there")
    names = " ".join(machine.missing)
    if machine.user == 0:
        return Finding(
            what="programs",
            verdict=Verdict.NOTE,
            found=f"missing: {names}",
            remedy="invoke release installs them by itself",
        )
    return Finding(
        what="programs",
        verdict=Verdict.BAD,
        found=f"missing: {names}",
        remedy=f"sudo apt-get install --no-install-recommends {names}",
    )


def _size(what: str, got: int, wanted: int, remedy: str) -> Finding:
    found = f"{got / 10**9:.1f} GB"
    # Memory is never quite what the modules say.
    return _finding(
        what, got >= wanted * 0.9, found, f"{wanted / 10**9:.0f} GB are needed; {remedy}"
    )


def _kvm(there: bool) -> Finding:  # noqa: FBT001 - a condition, named at its one call
    if there:
        return Finding(what="KVM", verdict=Verdict.GOOD, found="there; each boot tries it")
    return Finding(
        what="KVM",
        verdict=Verdict.NOTE,
        found="not here",
        remedy="guests run in QEMU's own emulation, which takes several times as long",
    )


def _release(path: Path) -> str:
    try:
        lines = path.read_text("utf-8").splitlines()
    except OSError:
        return "unknown"
    values = dict(line.split("=", 1) for line in lines if "=" in line)
    return " ".join(values.get(key, "").strip('"') for key in ("ID", "VERSION_ID")).strip()


def _namespaces() -> bool:
    try:
        with without_network():
            return True
    except BuildError:
        return False


def _free(port: int) -> bool:
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False
