"""The probe boot: what a machine profile's registers hold, read inside a guest of that machine.

A small image prints its registers and its event log over the serial port and powers off. What
PCR 0 and PCR 1 hold does not depend on what is booted, only on the machine and its firmware, so one
boot per machine profile is enough; the result is kept.
"""

from __future__ import annotations

import base64
import binascii
import itertools
import json
import re
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from blindllama.pcr import PcrBank
from deploy.qemu import vm
from deploy.qemu.console import console_tail
from deploy.qemu.machine import Attachments, qemu_argv
from supply_chain.digest import sha256_bytes, sha256_file
from supply_chain.errors import BootError
from supply_chain.progress import SilentProgress
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from deploy.qemu.machine import Firmware, MachineProfile
    from deploy.qemu.vtpm import ProvisionedTpm
    from supply_chain.digest import Sha256
    from supply_chain.progress import Progress

PCRS = 16
"""Registers that the probe prints, from 0 on."""
TIMEOUT_S = 240.0

_BEGIN = b"blindllama-probe/v1 begin"
_END = b"blindllama-probe/v1 end"
_PCR = re.compile(rb"^pcr (\d{1,2}) ([0-9a-f]{64})\r?$", re.MULTILINE)
_LOG = re.compile(rb"^log (\S*)\r?$", re.MULTILINE)
_BLANK_DISK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbedBoot:
    """What a probe boot told."""

    pcrs: Mapping[int, bytes]
    """Values of PCR 0 to 15, 32 bytes each."""
    event_log: bytes
    """The firmware's event log, as the kernel hands it out."""
    qemu: str
    """Version of the QEMU that ran it."""


def probe_boot(
    *,
    golden: Path,
    machine: MachineProfile,
    firmware: Firmware,
    probe_disk: Path,
    tpm: ProvisionedTpm,
    now: datetime,
    progress: Progress | None = None,
) -> ProbedBoot:
    """What the registers of this machine hold, from an earlier probe boot or from one made now.

    Args:
        golden: Where results are kept, `Workspace.golden`.
        machine: The machine profile.
        firmware: OVMF.
        probe_disk: The disk that prints and powers off.
        tpm: The software TPM; its identity has no influence.
        now: The time that is recorded as the guest's start.
        progress: Where to tell what goes on.

    Raises:
        BootError: The probe did not finish, twice.
        MissingToolError: QEMU or swtpm is not installed.
    """
    progress = progress or SilentProgress()
    qemu = vm.qemu_version()
    kept = golden / f"{_key(machine, firmware, qemu).hex}.json"
    if kept.exists():
        return _read(kept)
    with (
        progress.step("probe boot: measuring the machine and its firmware"),
        tempfile.TemporaryDirectory(prefix="bl-probe-") as scratch,
    ):
        # The place of the application disk must be taken; what is on it is not measured.
        blank = Path(scratch) / "blank.img"
        with blank.open("wb") as file:
            file.truncate(_BLANK_DISK_BYTES)
        parts = vm.Parts(
            machine=machine, firmware=firmware, os_disk=probe_disk, app_disk=blank, tpm=tpm
        )
        probed = _boot_with_retry(parts, now, qemu, progress)
    replace_file(kept, _serialise(probed))
    return probed


def parse_probe(output: bytes, *, qemu: str) -> ProbedBoot:
    """What the probe printed between its two marks; other lines are the firmware's.

    Raises:
        BootError: A mark, a register or the log is missing or malformed.
    """
    _, begin, rest = output.rpartition(_BEGIN)
    body, end, _ = rest.partition(_END)
    if not (begin and end):
        raise BootError("probe boot: expected its begin and end marks on the console")
    pcrs = {int(index): bytes.fromhex(value.decode()) for index, value in _PCR.findall(body)}
    if sorted(pcrs) != list(range(PCRS)):
        raise BootError(f"probe boot: expected PCR 0 to {PCRS - 1}, got {sorted(pcrs)}")
    try:
        event_log = base64.b64decode(b"".join(_LOG.findall(body)), validate=True)
    except binascii.Error as exc:
        raise BootError(f"probe boot: its event log is malformed: {exc}") from exc
    if not event_log:
        raise BootError("probe boot: expected an event log, got none")
    return ProbedBoot(pcrs=pcrs, event_log=event_log, qemu=qemu)


def _boot_with_retry(parts: vm.Parts, now: datetime, qemu: str, progress: Progress) -> ProbedBoot:
    for attempt in itertools.count(1):
        try:
            return parse_probe(_boot_once(parts, now), qemu=qemu)
        except BootError as exc:
            if not vm.may_try_again(exc, attempt, vm.ATTEMPTS):
                raise
            progress.note(f"{exc}\ntrying once more")
    raise AssertionError("unreachable: the last attempt returns or raises")


def _boot_once(parts: vm.Parts, now: datetime) -> bytes:
    home = parts.app_disk.parent / "guest"
    try:
        guest = vm.start(home, parts, now=now, port=None)
        deadline = time.monotonic() + TIMEOUT_S
        while vm.is_running(home) and time.monotonic() < deadline:
            time.sleep(0.2)
        output = guest.console.read_bytes()
        if _END not in output:
            tail = "\n  ".join(console_tail(guest.console))
            raise BootError(f"probe boot: it did not finish; its console's last lines:\n  {tail}")
        return output
    finally:
        vm.down(home)


def _key(machine: MachineProfile, firmware: Firmware, qemu: str) -> Sha256:
    """Names all that PCR 0 and 1 depend on; a change of QEMU's command line changes it too."""
    fixed = Path("/x")
    argv = qemu_argv(
        machine,
        Attachments(
            firmware_code=fixed,
            firmware_variables=fixed,
            os_disk=fixed,
            app_disk=fixed,
            tpm_socket=fixed,
            console=fixed,
            port=None,
        ),
    )
    images = [sha256_file(firmware.code).hex, sha256_file(firmware.variables).hex]
    return sha256_bytes(json.dumps([qemu, images, argv]).encode())


def _serialise(probed: ProbedBoot) -> bytes:
    entry = {
        "qemu": probed.qemu,
        "pcrs": {str(index): value.hex() for index, value in sorted(probed.pcrs.items())},
        "event_log": base64.b64encode(probed.event_log).decode(),
    }
    return json.dumps(entry, indent=1).encode() + b"\n"


def _read(path: Path) -> ProbedBoot:
    try:
        entry = json.loads(path.read_bytes())
        pcrs = {int(index): bytes.fromhex(value) for index, value in entry["pcrs"].items()}
        event_log = base64.b64decode(entry["event_log"], validate=True)
        qemu = str(entry["qemu"])
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise BootError(f"{path}: expected a kept probe boot, got {exc!r}; delete it") from exc
    if any(len(value) != PcrBank.SHA256.size_bytes for value in pcrs.values()):
        raise BootError(f"{path}: expected registers of 32 bytes; delete it")
    return ProbedBoot(pcrs=pcrs, event_log=event_log, qemu=qemu)
