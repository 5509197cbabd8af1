"""Opens the application's disk, and says in PCR 15 which one it is.

1. Find the disk, and build its descriptor from the partition table.
2. Extend PCR 15 with the descriptor, before anything of the disk is used.
3. Open it through dm-verity with exactly the parameters of the descriptor, and mount it read-only.
4. Extend PCR 15 with the sentinel: from here on nothing is measured any more.
5. Tell the ingress which requests are the application's.

There is no half state: when a step fails the unit fails, and the machine is switched off by its
`FailureAction`.
"""

import base64
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from os_image.guest import runtime
from os_image.guest.app_description import read_app_description
from os_image.guest.app_disk import SENTINEL, AppDisk, find_app_disk, verity_argv
from os_image.guest.errors import DiskError, GuestError
from os_image.guest.extend import extend_pcr
from os_image.guest.routes import render_routes
from os_image.guest.transport import Transport, device_transport

PCR = 15
"""System identity, by systemd's registry: here the application, and nothing else."""

_MAPPED = "app"
_WAIT_S = 20.0
"""Disks may appear late (SCSI buses are scanned in the background)."""
_POLL_S = 0.1
_EVENT_LOG = Path("/sys/kernel/security/tpm0/binary_bios_measurements")
_EVENT_LOG_LIMIT = 256 * 1024

Run = Callable[[Sequence[str]], None]
"""Runs a command to its end; raises when it fails."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AppEvent:
    """One extend of PCR 15, as the evidence shows it."""

    name: str
    data: bytes
    """The bytes whose SHA-256 was extended."""


def open_app_disk(disk: AppDisk, *, transport: Transport, run: Run) -> tuple[AppEvent, ...]:
    """Measures, opens and mounts `disk`, and returns what PCR 15 received, in order.

    Raises:
        GuestError: A step failed; what was extended stays extended.
    """
    descriptor = AppEvent(name="app-disk", data=disk.descriptor.encode())
    sentinel = AppEvent(name="sealed", data=SENTINEL)
    extend_pcr(transport, PCR, descriptor.data)
    run(verity_argv(disk, _MAPPED))
    run(mount_argv(Path("/dev/mapper") / _MAPPED, runtime.APP_ROOT))
    extend_pcr(transport, PCR, sentinel.data)
    return (descriptor, sentinel)


def mount_argv(device: Path, target: Path) -> list[str]:
    """The command that mounts the erofs of `device` on `target`, read-only."""
    return ["/usr/bin/mount", "-t", "erofs", "-o", "ro,nodev,nosuid", str(device), str(target)]


def encode_events(events: Sequence[AppEvent]) -> bytes:
    """The events as the JSON array that the evidence will hold."""
    rows = [
        {"pcr": PCR, "name": event.name, "data": base64.b64encode(event.data).decode("ascii")}
        for event in events
    ]
    return json.dumps(rows, separators=(",", ":")).encode("ascii")


def wait_for_app_disk(sysfs: Path, devices: Path, *, patience_s: float) -> AppDisk:
    """The application's disk, as soon as it is there.

    Raises:
        DiskError: It did not appear in time, or what appeared is ambiguous.
    """
    deadline = time.monotonic() + patience_s
    while (disk := find_app_disk(sysfs, devices)) is None:
        if time.monotonic() > deadline:
            raise DiskError(f"app disk: expected one within {patience_s:.0f} s, got none")
        time.sleep(_POLL_S)
    return disk


def copy_event_log(source: Path, target: Path) -> None:
    """Copies the firmware's event log for the attestation service, which may not read the original.

    A machine without one, or with one beyond 256 KiB, gets an empty copy: the log explains a
    measurement and never decides.
    """
    try:
        with source.open("rb") as stream:
            log = stream.read(_EVENT_LOG_LIMIT + 1)
    except OSError:
        log = b""
    target.write_bytes(log if len(log) <= _EVENT_LOG_LIMIT else b"")


def _run(argv: Sequence[str]) -> None:
    # No udev round trip: libdevmapper makes the node itself.
    environment = {"PATH": "/usr/sbin:/usr/bin", "LC_ALL": "C.UTF-8", "DM_DISABLE_UDEV": "1"}
    completed = subprocess.run(argv, env=environment, capture_output=True, check=False)
    if completed.returncode != 0:
        said = completed.stderr.decode("utf-8", errors="replace").strip()
        raise DiskError(f"{argv[0]}: expected exit status 0, got {completed.returncode}: {said}")


def _say_last_words(text: str) -> None:
    # The journal dies with the machine a moment later; the kernel's log reaches the console.
    with Path("/dev/kmsg").open("w", encoding="utf-8") as log:
        log.write(f"<3>blindllama: {text[:900]}\n")


def main() -> int:
    """Runs the five steps on this machine; 0 when the application's disk is open and sealed."""
    os.umask(0o022)
    try:
        disk = wait_for_app_disk(Path("/sys/class/block"), Path("/dev"), patience_s=_WAIT_S)
        runtime.APP_ROOT.mkdir(mode=0o755, exist_ok=True)
        transport = device_transport(Path("/dev/tpmrm0"))
        events = open_app_disk(disk, transport=transport, run=_run)
        copy_event_log(_EVENT_LOG, runtime.EVENT_LOG)
        runtime.APP_EVENTS.write_bytes(encode_events(events))
        app = read_app_description(runtime.APP_ROOT / "app.json")
        runtime.ROUTES.write_text(render_routes(app), encoding="ascii")
    except (GuestError, OSError) as error:
        _say_last_words(f"measured setup failed: {error}")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
