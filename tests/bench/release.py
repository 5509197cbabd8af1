"""What `invoke release` takes in a fresh checkout, and once more with nothing changed.

A fresh checkout is a copy of this one's sources beside inputs that were fetched: nothing is
unpacked, built, measured or signed, and there are no keys. The environment of `./do` is this one's.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

import publication
from blindllama import verify_and_connect
from building_site import read_site
from deploy.qemu import vm
from pipeline import declared_steps, fetch_for
from standing import POLICY
from supply_chain.errors import CommandError
from supply_chain.progress import ConsoleProgress, SilentProgress
from supply_chain.release import EVIDENCE
from supply_chain.workspace import CACHE_VARIABLE, Workspace
from tests.bench.paired import Figure, Goal, figure_of

ROOT = Path(__file__).resolve().parents[2]
ROUNDS = 5
PROMPT, TOKENS = "The capital of France is", 4
COLD_GOAL_S = 15 * 60.0
WARM_GOAL_S = 3.0
_MADE = (".cache", ".venv", ".nox", "__pycache__", "build", "dist", ".git")
"""What is no source of a checkout, by its name at the root."""


def rows(rounds: int | None) -> Sequence[Figure]:
    """A cold release; a warm one against it; and against booting and asking alone."""
    here = Workspace.at(ROOT, os.environ)
    site = read_site(
        ROOT, environ=os.environ, progress=ConsoleProgress(), clock=lambda: datetime.now(UTC)
    )
    fetch_for(site, declared_steps(site))
    site.fetch("tools")
    with tempfile.TemporaryDirectory(prefix="bench-release-") as name:
        numbers = count()

        def cold() -> float:
            place = fresh_checkout(Path(name) / f"cold-{next(numbers)}", here.store)
            took = released(place)
            shutil.rmtree(place)
            return took

        kept = fresh_checkout(Path(name) / "kept", here.store)
        # The first cold one leaves what is released again in every round.
        samples: dict[str, list[float]] = {"cold": [released(kept)], "warm": [], "asked": []}
        turns = [("cold", cold), ("warm", lambda: released(kept)), ("asked", lambda: asked(kept))]
        for number in range(rounds or ROUNDS):
            for what, sample in turns if number % 2 else reversed(turns):
                if len(samples[what]) == number:
                    samples[what].append(sample())
    return figures(samples)


def figures(samples: Mapping[str, Sequence[float]]) -> Sequence[Figure]:
    """The figures of the seconds of `cold` and `warm` releases and of those `asked` alone."""
    cold, warm, alone = samples["cold"], samples["warm"], samples["asked"]
    again = "`invoke release` with nothing changed"
    return (
        figure_of(
            f"`invoke release` in a fresh checkout, boot and answer of {TOKENS} tokens included",
            cold,
            goal=Goal(at_most_s=COLD_GOAL_S),
        ),
        figure_of(f"{again}, against a fresh checkout", warm, cold),
        figure_of(
            f"{again}, against booting, verifying and asking alone",
            warm,
            alone,
            Goal(at_most_more_s=WARM_GOAL_S),
        ),
    )


def fresh_checkout(place: Path, store: Path) -> Path:
    """A copy of this checkout's sources, with its fetched inputs and nothing else; returns it."""
    place.mkdir()
    for path in ROOT.iterdir():
        if path.name in _MADE:
            continue
        if path.is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(path, place / path.name, symlinks=True, ignore=ignored)
        else:
            shutil.copy2(path, place / path.name)
    (place / ".cache").mkdir()
    # A release reads the store and, offline, adds nothing to it.
    (place / ".cache" / "store").symlink_to(store)
    return place


def released(place: Path) -> float:
    """Seconds of a release in a checkout, as the command line makes it; its progress is shown.

    Raises:
        CommandError: It failed.
    """
    argv = [sys.executable, "-m", "invoke", "release", "--offline", f"--tokens={TOKENS}"]
    env = {**os.environ, CACHE_VARIABLE: str(place / ".cache")}
    start = time.perf_counter()
    done = subprocess.run(argv, cwd=place, env=env, stdout=subprocess.DEVNULL, check=False)
    took = time.perf_counter() - start
    if done.returncode != 0:
        raise CommandError(argv, returncode=done.returncode, stderr=b"")
    return took


def asked(place: Path) -> float:
    """Seconds in which the release of a checkout is booted, verified, and has answered."""
    site = read_site(
        place,
        environ={CACHE_VARIABLE: str(place / ".cache")},
        progress=SilentProgress(),
        clock=lambda: datetime.now(UTC),
        offline=True,
    )
    start = time.perf_counter()
    guest = publication.boot(site)
    try:
        folder = site.workspace.dist
        session = verify_and_connect(
            guest.url, release=site.workspace.release / EVIDENCE, policy=folder / POLICY
        )
        publication.ask(session, PROMPT, max_tokens=TOKENS, show=str)
    finally:
        vm.down(guest.directory)
    return time.perf_counter() - start
