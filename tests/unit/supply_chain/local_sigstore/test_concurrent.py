"""Many signers at once, in several processes: no entry is lost, and no acknowledged one ever."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

from supply_chain.local_sigstore import running
from tests.simulators.signing_workers import (
    acknowledged,
    check_all_logged,
    check_entry,
    signing,
    worker,
)

if TYPE_CHECKING:
    from pathlib import Path


def test_two_processes_of_many_threads_lose_nothing(checkout: Path, tmp_path: Path) -> None:
    bundles = signing(checkout, tmp_path, processes=2, count=30, threads=8)
    check_all_logged(tmp_path, bundles, processes=2, count=30)


def test_a_killed_signer_loses_nothing_that_it_acknowledged(checkout: Path, tmp_path: Path) -> None:
    with (
        worker(checkout, tmp_path, "victim", count=10_000, threads=8) as victim,
        worker(checkout, tmp_path, "survivor", count=20, threads=4) as survivor,
    ):
        assert victim.stdout is not None
        told = [victim.stdout.readline() for _ in range(10)]
        os.kill(victim.pid, signal.SIGKILL)
        told += [line for line in victim.stdout if line.endswith("\n")]
        survived = acknowledged(survivor)
    assert victim.returncode == -signal.SIGKILL
    assert len(survived) == 20
    with running(tmp_path) as instance:
        for line in told:
            check_entry(instance, line)
        for line in survived:
            check_entry(instance, line)
    # The folder is as good as before: another process signs, and the same log goes on.
    later = signing(checkout, tmp_path, processes=1, count=2, threads=1)
    with running(tmp_path) as instance:
        for line in (*told, *later):
            check_entry(instance, line)
