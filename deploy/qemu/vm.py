"""Guests on this machine: started, waited for, looked at, ended.

A guest is a directory with its console, its TPM's state, its copy of the variable store and the
records of its two processes. Whoever comes later finds it there, also after a crash of the one who
started it.
"""

from __future__ import annotations

import http.client
import itertools
import json
import re
import shutil
import socket
import ssl
import tempfile
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.qemu import running, vtpm
from deploy.qemu.console import console_tail, has_panicked, last_words
from deploy.qemu.machine import QEMU, Accelerator, Attachments, qemu_argv
from supply_chain.errors import BootError, CommandError
from supply_chain.process import run
from supply_chain.progress import SilentProgress
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    from collections.abc import Callable

    from deploy.qemu.machine import Firmware, MachineProfile
    from deploy.qemu.vtpm import ProvisionedTpm
    from supply_chain.progress import Progress

BOOT_TIMEOUT_S = 420.0
"""A guest needs 40 s on an idle machine under TCG; a busy one takes several times as long."""
ATTEMPTS = 2
EMULATOR_PANIC = "Oops: int3"
"""What about 1 in 45 boots under TCG ends with: the kernel patches code that another CPU is running."""

_POLL_S = 1.0
_SAY_EVERY_S = 10.0
_QEMU_RECORD = "qemu.json"
_TPM_RECORD = "swtpm.json"
_GUEST_RECORD = "guest.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a guest is made of."""

    machine: MachineProfile
    """Its CPUs and memory."""
    firmware: Firmware
    """OVMF."""
    os_disk: Path
    """The image that it boots, read only."""
    app_disk: Path
    """The image of its application, read only."""
    tpm: ProvisionedTpm
    """The software TPM; each boot works on a copy."""
    console_input: bool = False
    """Whether the console can be written to: a debug image has a shell there."""
    additions: tuple[str, ...] = ()
    """Further arguments of QEMU; see `machine.Attachments`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Guest:
    """A guest that was started."""

    directory: Path
    """Where all of its files are."""
    port: int | None
    """The port of 127.0.0.1 that leads to it."""
    started: datetime
    """When."""
    sockets: Path
    """The folder of its sockets."""

    @property
    def url(self) -> str:
        """Where it is asked."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def console(self) -> Path:
        """What it wrote to its serial port."""
        return self.directory / "console.log"

    @property
    def console_input(self) -> Path:
        """The socket of its serial port, where `Parts.console_input` asked for one."""
        return self.sockets / "console"


def boot(
    directory: Path,
    parts: Parts,
    *,
    now: datetime,
    port: int | None = None,
    timeout_s: float = BOOT_TIMEOUT_S,
    attempts: int = ATTEMPTS,
    ready: Callable[[Guest], bool] | None = None,
    progress: Progress | None = None,
) -> Guest:
    """A guest that answers at its port.

    Args:
        directory: The guest's own; replaced unless a guest is running there.
        parts: What it is made of.
        now: The time that is recorded as its start.
        port: The port of 127.0.0.1 to forward; a free one when None.
        timeout_s: Seconds until it is given up.
        attempts: Boots before it is given up, see `may_try_again`.
        ready: Whether it is up; `is_healthy`, which needs its application too, when None.
        progress: Where to tell what goes on.

    Raises:
        BootError: It did not come up, each time; the text has the console's last lines.
        MissingToolError: QEMU or swtpm is not installed.
    """
    progress = progress or SilentProgress()
    for attempt in itertools.count(1):
        guest = start(directory, parts, now=now, port=port or free_port())
        try:
            with progress.step(f"booting the guest on {guest.url}"):
                wait_until_ready(guest, timeout_s, progress, ready or is_healthy)
        except BootError as exc:
            down(directory)
            if not may_try_again(exc, attempt, attempts):
                raise
            progress.note(f"{exc}\ntrying once more")
        except BaseException:
            # Interrupted: nobody will wait for it any more.
            down(directory)
            raise
        else:
            return guest
    raise AssertionError("unreachable: the last attempt returns or raises")


def may_try_again(exc: BootError, attempt: int, attempts: int) -> bool:
    """Whether another boot is worth its time.

    Args:
        exc: How the boot failed.
        attempt: Its number, from 1 on.
        attempts: How many there may be; a panic of the emulator's, which comes within seconds, is
            forgiven once more where there is any retry at all.
    """
    forgiven = attempts > 1 and EMULATOR_PANIC in str(exc)
    return attempt < attempts + forgiven


def start(directory: Path, parts: Parts, *, now: datetime, port: int | None) -> Guest:
    """A guest that was just started, with its software TPM; nothing is waited for.

    Raises:
        BootError: One is running in this directory, its port is taken, or its TPM does not start.
        MissingToolError: QEMU or swtpm is not installed.
    """
    directory = directory.absolute()
    require_none(directory)
    if port is not None:
        _require_free(port)
    down(directory)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    # A socket's path has at most 107 bytes, so it cannot be among the guest's files.
    sockets = Path(tempfile.mkdtemp(prefix="bl-guest-"))
    guest = Guest(directory=directory, port=port, started=now, sockets=sockets)
    _write_record(guest)
    try:
        state = vtpm.copy_state(parts.tpm, directory / "tpm")
        variables = directory / "variables.fd"
        shutil.copyfile(parts.firmware.variables, variables)
        control = sockets / "tpm"
        running.start(
            vtpm.swtpm_argv(state, control, directory / "swtpm.log"),
            output=directory / "swtpm.output",
            record=directory / _TPM_RECORD,
        )
        vtpm.wait_for_socket(control)
        attached = Attachments(
            firmware_code=parts.firmware.code.absolute(),
            firmware_variables=variables,
            os_disk=parts.os_disk.absolute(),
            app_disk=parts.app_disk.absolute(),
            tpm_socket=control,
            console=guest.console,
            port=port,
            console_input=guest.console_input if parts.console_input else None,
            additions=parts.additions,
        )
        running.start(
            qemu_argv(parts.machine, attached),
            output=directory / "qemu.output",
            record=directory / _QEMU_RECORD,
        )
    except BaseException:
        down(directory)
        raise
    return guest


def require_none(directory: Path) -> None:
    """Return when no guest is running in this directory.

    Raises:
        BootError: One is.
    """
    if is_running(directory):
        raise BootError(f"a guest is running in {directory}; end it first: invoke boot.down")


def down(directory: Path) -> bool:
    """End the guest of this directory and its TPM, and nothing else; whether one was running.

    Its files stay, to be looked at, until the next boot.
    """
    ended = False
    # QEMU first: its TPM then ends by itself, with its state written.
    for name in (_QEMU_RECORD, _TPM_RECORD):
        process = running.read_record(directory / name)
        if process is None:
            continue
        if name == _TPM_RECORD and ended:
            running.wait_until_gone(process, timeout_s=2)
        ended = running.end(process) or ended
        (directory / name).unlink(missing_ok=True)
    found = read_guest(directory)
    if found is not None:
        shutil.rmtree(found.sockets, ignore_errors=True)
    return ended


def is_running(directory: Path) -> bool:
    """Whether the guest of this directory runs."""
    process = running.read_record(directory / _QEMU_RECORD)
    return process is not None and running.is_alive(process)


def read_guest(directory: Path) -> Guest | None:
    """The guest that was last started in this directory; None when there was none.

    Raises:
        BootError: Its record is damaged.
    """
    record = directory / _GUEST_RECORD
    try:
        entry = json.loads(record.read_bytes())
        return Guest(
            directory=directory,
            port=entry["port"],
            started=datetime.fromisoformat(entry["started"]),
            sockets=Path(entry["sockets"]),
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        raise BootError(f"{record} does not describe a guest: delete {directory}") from exc


def is_healthy(guest: Guest) -> bool:
    """Whether the guest's application answers. This is liveness only: nothing is verified here."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Short: the forwarder accepts at once and then waits for a guest that does not listen yet.
    connection = http.client.HTTPSConnection(
        "127.0.0.1", guest.port, timeout=_POLL_S, context=context
    )
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens at, at this moment."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _require_free(port: int) -> None:
    # Asked before QEMU is: whoever listens there would be taken for the guest.
    with socket.socket() as listener:
        # As QEMU does; without it, connections that have ended a moment ago count too.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError as exc:
            raise BootError(
                f"port {port} of 127.0.0.1 cannot be used: {exc.strerror}; "
                "name another one, or let a free one be taken: invoke boot.up --port 0"
            ) from exc


def qemu_version() -> str:
    """The version of this machine's QEMU, as in `7.2.22`.

    Raises:
        MissingToolError: QEMU is not installed.
    """
    first = run([QEMU, "--version"]).stdout.decode(errors="replace").partition("\n")[0]
    found = re.search(r"version (\d+(?:\.\d+)+)", first)
    if found is None:
        raise BootError(f"{QEMU} --version: expected a version, got {first!r}")
    return found.group(1)


def usable_accelerator(firmware: Firmware) -> Accelerator:
    """KVM where it can start this firmware, else TCG.

    Tried, not guessed: nested hosts offer /dev/kvm and then fail in the firmware's first
    instructions.
    """
    argv = [
        *(QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"),
        *("-machine", "q35,accel=kvm,smm=off", "-cpu", "host", "-m", "256M"),
        *("-drive", f"if=pflash,unit=0,format=raw,readonly=on,file={firmware.code.absolute()}"),
    ]
    try:
        run(argv, timeout_s=3)
    except CommandError as exc:
        # Still running after the time: good, unless the virtual CPU stopped.
        alive = exc.returncode is None and b"KVM internal error" not in exc.stderr
        return Accelerator.KVM if alive else Accelerator.TCG
    return Accelerator.TCG


def wait_until_ready(
    guest: Guest, timeout_s: float, progress: Progress, ready: Callable[[Guest], bool]
) -> None:
    """Return when a guest that was started is up.

    Raises:
        BootError: It ended, panicked or took longer; the text has the console's last lines.
    """
    deadline = time.monotonic() + timeout_s
    said, said_at = "", time.monotonic()
    while not ready(guest):
        tail = console_tail(guest.console)
        if not is_running(guest.directory):
            raise _boot_error(guest, "ended before it answered")
        if has_panicked(tail):
            raise _boot_error(guest, "panicked")
        if time.monotonic() >= deadline:
            raise _boot_error(guest, f"did not answer within {timeout_s:.0f} s")
        if tail and tail[-1] != said and time.monotonic() - said_at >= _SAY_EVERY_S:
            said, said_at = tail[-1], time.monotonic()
            progress.note(said)
        time.sleep(_POLL_S)
    if not is_running(guest.directory):
        raise _boot_error(guest, "ended, and somebody else answers at its port")


def _boot_error(guest: Guest, what: str) -> BootError:
    complaint = (guest.directory / "qemu.output").read_text(errors="replace").strip()
    lines = [f"the guest {what}; its console ({guest.console}) ends with:"]
    lines += [f"  {line}" for line in last_words(guest.console)]
    if complaint:
        lines.append(f"QEMU said: {complaint}")
    return BootError("\n".join(lines))


def _write_record(guest: Guest) -> None:
    entry = {
        "port": guest.port,
        "started": guest.started.isoformat(),
        "sockets": str(guest.sockets),
    }
    replace_file(guest.directory / _GUEST_RECORD, json.dumps(entry, indent=1).encode())
