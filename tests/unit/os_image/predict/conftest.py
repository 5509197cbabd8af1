"""A recorded real boot, the real firmware where it is installed, and a small UKI."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest

from os_image.predict.event_log import LoggedEvent, parse_event_log
from tests.unit.os_image.predict.images import make_pe

FIRMWARE_SHA256 = "b157d97b1f69729514feb7f201d2cbe4957f23ab77920e361fe9f822ba49ca4c"
_OVMF = Path("/usr/share/OVMF")


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedBoot:
    folder: Path
    pcrs: dict[int, bytes]
    event_log: bytes
    events: dict[int, list[LoggedEvent]]


@pytest.fixture(scope="session")
def recorded(checkout: Path) -> RecordedBoot:
    folder = checkout / "tests" / "golden" / "boot"
    console = (folder / "probe.console").read_bytes()
    event_log = base64.b64decode(b"".join(re.findall(rb"^log (\S+)\r?$", console, re.MULTILINE)))
    events: dict[int, list[LoggedEvent]] = {}
    for event in parse_event_log(event_log):
        events.setdefault(event.pcr, []).append(event)
    return RecordedBoot(
        folder=folder,
        pcrs={
            int(index): bytes.fromhex(value.decode())
            for index, value in re.findall(rb"^pcr (\d+) (\w{64})\r?$", console, re.MULTILINE)
        },
        event_log=event_log,
        events=events,
    )


@pytest.fixture(scope="session")
def ovmf_code() -> bytes:
    """The firmware of the recorded boot, where this machine has it installed."""
    path = _OVMF / "OVMF_CODE_4M.fd"
    if not path.exists() or sha256(path.read_bytes()).hexdigest() != FIRMWARE_SHA256:
        pytest.skip("needs the ovmf package of the recorded boot")
    return path.read_bytes()


@pytest.fixture(scope="session")
def uki_sections(recorded: RecordedBoot) -> dict[str, bytes]:
    """The recorded small sections; a kernel and an initrd that nobody booted."""
    real = {
        f".{name}": (recorded.folder / f"{name}.section").read_bytes()
        for name in ("osrel", "cmdline", "uname", "sbat")
    }
    kernel = make_pe({".text": b"kernel"})
    return {".text": b"stub", **real, ".linux": kernel, ".initrd": b"070701 and so on"}
