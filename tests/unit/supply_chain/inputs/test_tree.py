from __future__ import annotations

import contextlib
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from supply_chain.digest import sha256_tree
from supply_chain.errors import CommandError
from supply_chain.inputs.lock import DebianPackage
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Bind, Tree, cached_tree, tree_key, unpack_tree
from tests.unit.supply_chain.inputs.samples import build_deb, package


@pytest.fixture
def debs(tmp_path: Path) -> tuple[Store, tuple[DebianPackage, ...]]:
    store = Store(tmp_path / "store")
    packages = []
    for name, files in {
        "merged": {"usr/bin/tool": "#!/bin/sh\n", "usr/lib/library": "code"},
        # As packages did before the directories of the root became links.
        "unmerged": {"bin/old-tool": "#!/bin/sh\n", "lib/old-library": "code"},
    }.items():
        (tmp_path / name).mkdir()
        data = build_deb(tmp_path / name, name, files)
        packages.append(package(data, name))
        store.put(data, packages[-1].sha256)
    return store, tuple(packages)


def test_packages_are_unpacked_into_a_merged_usr(
    debs: tuple[Store, tuple[DebianPackage, ...]], tmp_path: Path
) -> None:
    store, packages = debs
    root = unpack_tree(packages, store, tmp_path / "tree").root
    for name in ("bin", "lib", "lib64", "sbin"):
        assert (root / name).readlink() == Path("usr") / name
    assert {path.name for path in (root / "usr/bin").iterdir()} == {"tool", "old-tool"}
    assert (root / "usr/lib/old-library").read_text() == "code"


def test_the_same_packages_give_the_same_tree(
    debs: tuple[Store, tuple[DebianPackage, ...]], tmp_path: Path
) -> None:
    store, packages = debs
    before = os.umask(0o077)
    try:
        first = unpack_tree(packages, store, tmp_path / "first")
    finally:
        os.umask(before)
    second = unpack_tree(packages, store, tmp_path / "second")
    assert sha256_tree(first.root) == sha256_tree(second.root)


def test_a_tree_is_unpacked_once_however_many_ask(
    debs: tuple[Store, tuple[DebianPackage, ...]], tmp_path: Path
) -> None:
    store, packages = debs
    trees = tmp_path / "trees"
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: cached_tree(packages, store, trees), range(4)))
    assert found == [Tree(trees / tree_key(packages).hex)] * 4
    # The store may be gone now: nothing is unpacked again.
    shutil.rmtree(store.root)
    assert cached_tree(reversed(packages), store, trees) == found[0]


def test_a_package_that_cannot_be_unpacked_leaves_nothing(
    debs: tuple[Store, tuple[DebianPackage, ...]], tmp_path: Path
) -> None:
    store, packages = debs
    damaged = package(b"no package", "damaged")
    store.put(b"no package", damaged.sha256)
    with pytest.raises(CommandError) as caught:
        cached_tree((*packages, damaged), store, tmp_path / "trees")
    assert caught.value.code == "build.command"
    assert [path for path in (tmp_path / "trees").iterdir() if path.is_dir()] == []


def test_inside_there_is_the_tree_and_what_is_bound(tools: Tree, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "file").write_text("from the host")
    (tmp_path / "out").mkdir()
    binds = (
        Bind(host=tmp_path / "in", inside="/data/in"),
        Bind(host=tmp_path / "in" / "file", inside="/single"),
        Bind(host=tmp_path / "out", inside="/data/out", read_only=False),
    )
    done = tools.run(["sh", "-c", "cat /data/in/file > /data/out/copy; cat /single"], binds=binds)
    assert done.stdout == b"from the host"
    assert (tmp_path / "out" / "copy").read_text() == "from the host"
    with pytest.raises(CommandError, match="Read-only file system") as caught:
        tools.run(["touch", "/data/in/new"], binds=binds)
    assert caught.value.code == "build.command"
    assert not tools.run(["sh", "-c", f"ls {tmp_path} || true"]).stdout


def test_what_is_written_elsewhere_is_gone_after(tools: Tree) -> None:
    script = "touch /tmp/a /usr/bin/b /new && ls /tmp /new"
    assert tools.run(["sh", "-c", script]).stdout == b"/new\n\n/tmp:\na\n"
    assert tools.run(["ls", "/tmp"]).stdout == b""
    assert not (tools.root / "new").exists()
    assert not (tools.root / "usr/bin/b").exists()


def test_nothing_of_the_host_shows(tools: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "of the host")
    before = os.umask(0o077)
    try:
        said = tools.run(["sh", "-c", "umask; env; echo pids /proc/[0-9]*; hostname; id -un"])
    finally:
        os.umask(before)
    lines = said.stdout.decode().splitlines()
    assert lines[0] == "0022"
    assert "TZ=UTC" in lines
    assert "LC_ALL=C.UTF-8" in lines
    assert not any("SECRET" in line for line in lines)
    assert "pids /proc/1 /proc/2" in lines
    # From the tree's base-passwd, completed without touching the tree.
    assert lines[-1] == "root"
    assert not (tools.root / "etc/passwd").exists()


def test_there_is_no_network(tools: Tree) -> None:
    said = tools.run(["cat", "/proc/net/dev"]).stdout.decode()
    interfaces = {line.split(":")[0].strip() for line in said.splitlines()[2:]}
    assert not {name for name in interfaces if name.startswith(("eth", "en", "wl"))}
    reach = "import socket; print(socket.socket().connect_ex(('192.0.2.1', 80)))"
    assert tools.run(["python3", "-c", reach]).stdout.strip() == b"101"  # ENETUNREACH


def test_devices_are_those_that_programs_need(tools: Tree) -> None:
    said = tools.run(["sh", "-c", "ls /dev; head -c 3 /dev/zero >/dev/null"]).stdout.decode()
    assert set(said.split()) == {
        "fd", "full", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin", "stdout",
        "tty", "urandom", "zero",
    }  # fmt: skip


def test_links_of_alternatives_are_there(tools: Tree) -> None:
    assert tools.run(["awk", "BEGIN { print 6 * 7 }"]).stdout == b"42\n"


def test_standard_input_and_exit_status_pass_through(tools: Tree) -> None:
    assert tools.run(["cat"], stdin=b"\x00\xff").stdout == b"\x00\xff"
    assert tools.run(["sh", "-c", "exit 3"], check=False).returncode == 3
    assert tools.run(["sh", "-c", "kill -9 $$"], check=False).returncode == 137


def test_a_failure_names_the_tool_and_can_be_replayed(tools: Tree) -> None:
    with pytest.raises(CommandError) as caught:
        tools.run(["sh", "-c", "echo why >&2; exit 3"])
    text = str(caught.value).splitlines()
    assert text[:2] == ["sh of the locked tools failed with exit status 3", "why"]
    assert text[-1].startswith("to replay: unshare ")


def test_a_tool_that_is_not_in_the_lock(tools: Tree) -> None:
    with pytest.raises(CommandError, match="no-such-tool: No such file") as caught:
        tools.run(["no-such-tool"])
    assert caught.value.returncode == 127


def test_a_tool_that_takes_too_long_is_ended_with_its_children(tools: Tree) -> None:
    marker = "6543.21"
    with pytest.raises(CommandError) as caught:
        tools.run(["sh", "-c", f"sleep {marker} & wait"], timeout_s=1)
    assert caught.value.returncode is None
    # The kernel ends a PID namespace in its own time, though soon.
    deadline = time.monotonic() + 10
    while (left := running(f"sleep\0{marker}")) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not left


def running(words: str) -> list[Path]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if words.encode() in path.read_bytes():
                found.append(path)
    return found
