from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.simulators.release_repository import Publisher
from tests.unit.supply_chain.repository.conftest import Releases

KILLED = """
import os, shutil, signal, sys
from datetime import datetime
from pathlib import Path
from tests.simulators.release_repository import Publisher
from supply_chain.repository import index

root, now = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2])
EVENTS = {"os.rename", "os.mkdir", "os.rmdir", "ctypes.dlsym"}

def run(count):
    def hook(event, arguments):
        nonlocal count
        if event in EVENTS:
            count -= 1
            if count < 0:
                os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(hook)
    index.revoke(publisher.place, 1, now)

for count in range(10_000):
    place = root / str(count)
    shutil.copytree(root / "before", place)
    publisher = Publisher(root=place, now=now)
    child = os.fork()
    if not child:
        run(count)
        os._exit(0)
    ended = os.waitpid(child, 0)[1]
    revoked = len(publisher.client().fetch(now).listing.revoked)
    index.refresh(publisher.place, now)
    left = [path.name for path in place.glob(".repository.*") if path.is_dir()]
    print(ended, revoked, len(publisher.client().fetch(now).listing.revoked), left)
    shutil.rmtree(place)
    if not ended:
        break
"""


def test_killed_anywhere_the_old_repository_or_the_new_is_whole(
    publisher: Publisher, releases: Releases, tmp_path: Path, checkout: Path
) -> None:
    """A run is ended by SIGKILL before each of its changes to the file system."""
    publisher.publish(releases[1])
    root = tmp_path / "killed"
    root.mkdir()
    before = root / "before"
    before.mkdir()
    for name in ("repository", "keys", "1.root.json"):
        (publisher.root / name).rename(before / name)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, root, publisher.now.isoformat()],
        cwd=checkout,
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    lines = [line.split(maxsplit=3) for line in done.stdout.splitlines()]
    killed = [line for line in lines if line[0] == "9"]
    assert len(killed) > 20
    assert len(lines) == len(killed) + 1
    found = [line[1] for line in lines]
    assert found == sorted(found)  # not revoked until the move, revoked from it on
    assert set(found) == {"0", "1"}
    assert all(line[2:] == [line[1], "[]"] for line in lines)
