"""Fuzz every parser by coverage: `python -m tests.fuzz [RUNS [TARGET…]]`.

RUNS is the number of executions in all, divided among the targets by their shares. A target that
raises what it must not, takes more than ten seconds or more than a gibibyte ends with its input in
build/fuzz. The figures of a session go to tests/fuzz/LOG.md by hand, with what was found.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.target import Target, targets

OUTPUT = Path(__file__).resolve().parents[2] / "build" / "fuzz"
RUNS = 20_000
"""Enough to see that the session works; a real one has a million."""
LIMITS = ("-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1", "-verbosity=0")
_STAT = re.compile(r"^stat::(\w+):\s+(\d+)$", re.MULTILINE)


def main(arguments: Sequence[str]) -> int:
    """Fuzz the targets named, or all; the exit status is 1 when something was found."""
    runs = int(arguments[0]) if arguments else RUNS
    names = arguments[1:]
    chosen = [target for target in targets() if not names or target.name in names]
    shares = sum(target.share for target in chosen)
    found = 0
    for target in chosen:
        found += fuzz(target, runs * target.share // shares)
    return 1 if found else 0


def fuzz(target: Target, runs: int) -> int:
    """Run one target and print a line of a table: name, executions, per second, MiB, verdict."""
    corpus = OUTPUT / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    longest = 2 * max(map(len, target.seeds)) + 256
    argv = [
        *(sys.executable, "-m", "tests.fuzz.drive", target.name, *LIMITS),
        *(f"-runs={runs}", f"-max_len={longest}", f"-artifact_prefix={OUTPUT}/{target.name}-"),
        os.fspath(corpus),
    ]
    done = subprocess.run(
        argv, check=False, capture_output=True, encoding="utf-8", errors="replace"
    )
    stats = dict(_STAT.findall(done.stderr))
    verdict = "nothing found" if done.returncode == 0 else "FOUND"
    sys.stdout.write(
        f"| {target.name} | {stats.get('number_of_executed_units', '?')} "
        f"| {stats.get('average_exec_per_sec', '?')} | {stats.get('peak_rss_mb', '?')} "
        f"| {verdict} |\n"
    )
    sys.stdout.flush()
    if done.returncode:
        sys.stderr.write(done.stderr[-4000:])
    return int(done.returncode != 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
