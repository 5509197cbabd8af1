"""What a start costs before anything is verified: an import, and a help text."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from tests.bench.paired import Bench, timed

START_GOAL_S = 0.150


@contextmanager
def importing() -> Iterator[Bench]:
    """A Python that imports the SDK and ends, all of it."""
    yield _bench("import blindllama", "-c", "import blindllama")


@contextmanager
def helping() -> Iterator[Bench]:
    """The command line's own help, from start to end."""
    yield _bench("blindllama --help", "-m", "blindllama", "--help")


def _bench(name: str, *arguments: str) -> Bench:
    argv = (sys.executable, *arguments)
    run = partial(subprocess.run, argv, check=True, stdout=subprocess.DEVNULL)
    return Bench(
        name=f"{name}, processor time with Python's own start",
        subject=timed(run, clock=_children_s),
        at_most_s=START_GOAL_S,
    )


def _children_s() -> float:
    """Seconds of processor that the processes started here have taken so far."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
