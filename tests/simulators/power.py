"""A machine whose power is cut, one whose TPM goes, and one that has none."""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from deploy.qemu import running, vm

_TPM_PARTS = ("socket,id=tpm,", "emulator,id=tpm,", "tpm-crb,")


def cut(guest: vm.Guest, parts: vm.Parts, keep: Path) -> vm.Parts:
    """End a guest without a word to it; the parts of its next boot.

    The software TPM sees its machine go and keeps what it had written; so does the variable store.

    Args:
        guest: The guest; nothing of it runs afterwards.
        parts: What it was made of.
        keep: An empty folder for its flash memories.
    """
    process = running.read_record(guest.directory / "qemu.json")
    assert process is not None
    assert process.pid is not None
    assert running.is_alive(process)
    os.kill(process.pid, signal.SIGKILL)
    assert running.wait_until_gone(process, timeout_s=30)
    vm.down(guest.directory)
    shutil.copytree(guest.directory / "tpm", keep / "tpm", ignore=shutil.ignore_patterns(".lock"))
    shutil.copy(guest.directory / "variables.fd", keep / "variables.fd")
    return replace(
        parts,
        firmware=replace(parts.firmware, variables=keep / "variables.fd"),
        tpm=replace(parts.tpm, state=keep / "tpm"),
    )


def kill_tpm(guest: vm.Guest) -> None:
    """End the process that is a guest's TPM."""
    tpm = running.read_record(guest.directory / "swtpm.json")
    assert tpm is not None
    assert tpm.pid is not None
    os.kill(tpm.pid, signal.SIGKILL)
    assert running.wait_until_gone(tpm, timeout_s=30)


def start_without_tpm(directory: Path, parts: vm.Parts, now: datetime) -> vm.Guest:
    """A guest on the same machine, which was just started, with the TPM taken out."""
    guest = vm.start(directory, parts, now=now, port=vm.free_port())
    whole = running.read_record(directory / "qemu.json")
    assert whole is not None
    vm.down(directory)
    guest.console.unlink(missing_ok=True)
    gone = {at for at, word in enumerate(whole.argv) if word.startswith(_TPM_PARTS)}
    assert len(gone) == len(_TPM_PARTS)
    running.start(
        [word for at, word in enumerate(whole.argv) if not {at, at + 1} & gone],
        output=directory / "qemu.output",
        record=directory / "qemu.json",
    )
    return guest
