"""Processes that outlive the command that started them: recorded, recognised, ended.

A process is known by its number and its start time together, since the kernel uses numbers again.
It is recorded before it starts with its command line, so that a crash of the parent between start
and record leaves nothing that cannot be found.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from supply_chain.errors import BootError
from supply_chain.process import spawn
from supply_chain.workspace import replace_file

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Sequence

_PATIENCE_S = 10.0
_PROC = Path("/proc")
_ENDED = ("Z", "X")
"""States of a process that has ended and was not waited for."""

_CHILDREN: dict[int, subprocess.Popen[bytes]] = {}
"""Those that this very process started; they are reaped when they end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProcess:
    """A process, as it was recorded."""

    argv: tuple[str, ...]
    """Its command; unique, since it names files of its own."""
    pid: int | None = None
    """Its number; None when it was about to start."""
    start_ticks: int | None = None
    """Clock ticks from the machine's boot to its start."""


def start(argv: Sequence[str], *, output: Path, record: Path) -> RunningProcess:
    """Start a program that keeps running, and record it.

    Args:
        argv: The command; it must name a file that no other process names.
        output: Receives what it writes.
        record: The file that remembers it.

    Raises:
        MissingToolError: There is no such program.
    """
    _write(record, RunningProcess(argv=tuple(argv)))
    child = spawn(argv, stdout=output)
    _CHILDREN[child.pid] = child
    _, start_ticks = _stat(child.pid) or ("", None)
    process = RunningProcess(argv=tuple(argv), pid=child.pid, start_ticks=start_ticks)
    _write(record, process)
    return process


def read_record(record: Path) -> RunningProcess | None:
    """The process that a file remembers; None when there is no such file.

    Raises:
        BootError: The file is damaged.
    """
    try:
        entry = json.loads(record.read_bytes())
        return RunningProcess(
            argv=tuple(entry["argv"]), pid=entry["pid"], start_ticks=entry["start_ticks"]
        )
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as exc:
        raise BootError(
            f"{record} does not say which process it is about: end it by hand if it still runs, "
            f"then delete {record.parent}"
        ) from exc


def is_alive(process: RunningProcess) -> bool:
    """Whether this very process still runs."""
    if process.pid is None:
        return _find(process.argv) is not None
    state, start_ticks = _stat(process.pid) or ("", None)
    if start_ticks is None or start_ticks != process.start_ticks:
        return False
    child = _CHILDREN.get(process.pid)
    if child is None:
        return state not in _ENDED
    # Only waiting tells the end of a child with threads: its first thread is a zombie before.
    if child.poll() is None:
        return True
    del _CHILDREN[process.pid]
    return False


def end(process: RunningProcess) -> bool:
    """End this very process, politely at first; False when it was not running any more."""
    if not is_alive(process):
        return False
    pid = process.pid if process.pid is not None else _find(process.argv)
    if pid is None:
        return False
    try:
        # From here on the number cannot come to mean another process.
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(process):
            return False
        for how in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(descriptor, how)
            if select.select([descriptor], [], [], _PATIENCE_S)[0]:
                break
    finally:
        os.close(descriptor)
    child = _CHILDREN.pop(pid, None)
    if child is not None:
        child.wait(_PATIENCE_S)
    return True


def wait_until_gone(process: RunningProcess, timeout_s: float) -> bool:
    """Whether the process ended by itself within this time."""
    deadline = time.monotonic() + timeout_s
    while is_alive(process):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.1)
    return True


def _write(record: Path, process: RunningProcess) -> None:
    replace_file(record, json.dumps(asdict(process), indent=1).encode())


def _stat(pid: int) -> tuple[str, int] | None:
    """State and start time, fields 3 and 22 of /proc/PID/stat; None when there is no such process.

    Source: Linux, Documentation/filesystems/proc.rst, table 1-4.
    """
    try:
        stat = (_PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in parentheses, which may hold any character.
    state, *rest = stat[stat.rindex(")") + 2 :].split()
    return state, int(rest[18])


def _find(argv: tuple[str, ...]) -> int | None:
    """The process that was started with this command, if its record was not completed."""
    for entry in _PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            words = (entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        # The program's name was resolved in PATH when it was started.
        if tuple(words[1:]) == argv[1:] and Path(words[0]).name == Path(argv[0]).name:
            return int(entry.name)
    return None
