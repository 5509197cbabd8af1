"""A second build's world, as a program in it finds it."""

from __future__ import annotations

import ast
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from reproduce import _elsewhere
from reproduce.checkout import copy_checkout, give, source_files
from reproduce.surroundings import SOURCES_TIME, Surroundings, as_another_user
from supply_chain import process

LOOK = """
import json, os, shutil, socket, tempfile, time
from pathlib import Path
print({
    "umask": os.umask(0),
    "hostname": socket.gethostname(),
    "cpus": len(os.sched_getaffinity(0)),
    "zone": time.tzname,
    "locale": os.environ["LC_ALL"],
    "user": os.getuid(),
    "network": [line.split(":")[0].strip() for line in open("/proc/net/dev").readlines()[2:]],
    "outside": Path("/proc/self/uid_map").read_text().split()[:2],
    "temporary": tempfile.gettempdir(),
    "listed": [os.listdir("many"), [p.name for p in Path("many").iterdir()],
        [e.name for e in os.scandir("many")], next(os.walk("many"))[2],
        sorted(p.name for p in Path("many").glob("?"))],
    "import": __import__("marker").WHERE,
})
shutil.copytree("many", "copied")
shutil.rmtree("copied")
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder that stands for the copy of a checkout."""
    folder = tmp_path / "a place"
    (folder / "sdk" / "src").mkdir(parents=True)
    (folder / "scratch").mkdir()
    (folder / "many").mkdir()
    for name in ("b", "a", "c"):
        (folder / "many" / name).touch()
    (folder / "look.py").write_text(LOOK)
    (folder / "marker.py").write_text("WHERE = __file__\n")
    return folder


def seen(place: Path, around: Surroundings) -> dict[str, object]:
    done = process.run(around.argv("look", []), cwd=place, env=around.environment(place))
    found: dict[str, object] = ast.literal_eval(done.stdout.decode())
    return found


@pytest.mark.root
def test_all_of_it_is_different(place: Path) -> None:
    around = Surroundings(shift=0)
    found = seen(place, around)
    assert found["umask"] == 0o077
    assert found["hostname"] == "elsewhere" != os.uname().nodename
    assert found["cpus"] == 1
    assert found["network"] == ["lo"]
    assert found["zone"] == ("+1245", "+1345")
    assert found["locale"] == "tr_TR.UTF-8"
    assert found["temporary"] == f"{place}/scratch"
    assert found["import"] == f"{place}/marker.py"
    listed = found["listed"]
    assert isinstance(listed, list)
    assert listed[:4] == [["c", "b", "a"]] * 4
    assert os.uname().nodename != "elsewhere"  # the host kept its name


@pytest.mark.root
def test_root_inside_is_another_user_outside(place: Path) -> None:
    around = Surroundings()
    give(place.parent, around.shift)
    found = seen(place, around)
    assert (found["user"], found["outside"]) == (0, ["0", "100000"])
    assert found["hostname"] == "elsewhere"


@pytest.mark.root
def test_a_user_namespace_that_cannot_be_had_is_said(place: Path) -> None:
    """No kernel has a user of the highest number: it stands for none."""
    why = as_another_user(Surroundings(shift=2**32 - 1), place)
    assert why == "OSError: [Errno 22] Invalid argument"


@pytest.mark.root
def test_the_trial_passes_where_builds_can_run(checkout: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    copy_checkout(checkout, copy)
    (copy / "scratch").mkdir()
    give(copy, Surroundings().shift)
    assert not as_another_user(Surroundings(), copy)


def test_the_exit_status_is_the_modules(place: Path) -> None:
    (place / "ends.py").write_text("import sys; sys.exit(int(sys.argv[1]))")
    around = Surroundings(shift=0)
    done = process.run(
        around.argv("ends", ["7"]), cwd=place, env=around.environment(place), check=False
    )
    assert done.returncode == 7


@pytest.mark.root
def test_it_ends_with_whoever_started_it(place: Path) -> None:
    (place / "stays.py").write_text(
        "import os, pathlib, time\n"
        "pathlib.Path('pid.new').write_text(str(os.getpid()))\n"
        "os.rename('pid.new', 'pid')\n"
        "time.sleep(600)\n"
    )
    around = Surroundings()
    give(place.parent, around.shift)
    log = place / "log"
    started = process.spawn(
        ["env", "-C", str(place), *around.argv("stays", [])],
        stdout=log,
        env=around.environment(place),
    )
    try:
        eventually((place / "pid").exists)
        inner = int((place / "pid").read_text())
        assert inner != started.pid
        started.kill()
        started.wait()
        eventually(lambda: not Path(f"/proc/{inner}").exists())
    finally:
        started.kill()
        started.wait()


def eventually(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_listing_is_what_scandir_is(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / name).touch()
    with _elsewhere.Listing(tmp_path) as listing:
        assert [next(listing).name, *(entry.name for entry in listing)] == ["b", "a"]
    listing.close()


def test_what_is_told_names_everything() -> None:
    told = Surroundings().told()
    assert told["umask"] == "077"
    assert "user namespace" in told["user"]
    assert "first build" in Surroundings(shift=0).told()["user"]
    assert all(0 < len(key) <= 512 and 0 < len(value) <= 512 for key, value in told.items())


class TestCopy:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        root = tmp_path / "source"
        for name in ("b/code.py", "a.toml", ".venv/bin/x", "b/__pycache__/code.pyc", "dist/old"):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_text(name)
        (root / "a.toml").chmod(0o644)
        (root / "b/code.py").chmod(0o755)
        (root / "link").symlink_to("nowhere")
        return root

    def test_sources_and_nothing_else(self, source: Path, tmp_path: Path) -> None:
        copy_checkout(source, tmp_path / "copy")
        copied = {
            p.relative_to(tmp_path / "copy").as_posix() for p in (tmp_path / "copy").rglob("*")
        }
        assert copied == {"a.toml", "b", "b/code.py", "link"}
        assert (tmp_path / "copy" / "link").readlink() == Path("nowhere")

    def test_is_private_and_old(self, source: Path, tmp_path: Path) -> None:
        copy_checkout(source, tmp_path / "copy")
        for name, mode in (("a.toml", 0o600), ("b/code.py", 0o700)):
            found = (tmp_path / "copy" / name).stat()
            assert (found.st_mode & 0o7777, found.st_mtime) == (mode, SOURCES_TIME)

    def test_what_git_does_not_track_stays_behind(self, source: Path, tmp_path: Path) -> None:
        git = ["git", "-C", str(source)]
        process.run([*git, "init", "-q"])
        process.run([*git, "add", "a.toml", "link", "dist/old"])
        (source / "untracked").touch()
        assert sorted(source_files(source)) == ["a.toml", "link"]
        (source / "a.toml").unlink()
        assert source_files(source) == ["link"]
