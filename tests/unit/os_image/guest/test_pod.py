"""A pod's own side: what is mounted, in which order, and the namespaces as the kernel makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from os_image.guest import place, runtime
from os_image.guest.app_description import Pod
from os_image.guest.numbers import EACH, FIRST, PODS, first_number
from os_image.guest.pod import environment, furnish, play_argv, take_control_group
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Bind, Tree
from tests.conftest import locked_tree

POD = Pod(
    name="llm",
    address="10.89.0.10",
    health_path="/health",
    health_port=8080,
    memory_volumes={"sockets": 65536},
)
PROGRAM = Path(__file__).resolve().parents[3] / "simulators" / "pod_place.py"


def test_a_pod_is_furnished_before_podman_runs(tmp_path: Path) -> None:
    ran: list[tuple[list[str], str]] = []
    furnish(POD, tmp_path, run=lambda argv, text: ran.append(([*argv], text)))
    private, *memory, network = ran
    assert private == (["/usr/bin/mount", "--make-rprivate", "/"], "")
    places = [argv[-1] for argv, _ in memory]
    assert places == [str(tmp_path), "/run/lock", "/run/crun", str(tmp_path / "volumes/sockets")]
    for argv, _ in memory:
        assert {"nosuid", "nodev", "noexec"} <= {*argv[4].split(",")}
    assert "size=65536" in memory[-1][0][4]
    assert network[0] == ["/usr/bin/ip", "-batch", "-"]
    assert "address add 10.89.0.10/24 dev eth0" in network[1].splitlines()
    assert (tmp_path / "images").is_dir()


def test_containers_have_groups_below_the_units(tmp_path: Path) -> None:
    ran: list[list[str]] = []
    take_control_group(tmp_path, run=lambda argv, _: ran.append([*argv]))
    assert ran == [
        [
            *["/usr/bin/mount", "-t", "cgroup2", "-o", "nosuid,nodev,noexec", "cgroup2"],
            str(tmp_path),
        ]
    ]
    # Written to by the kernel's own file there: this process moves itself.
    assert (tmp_path / "podman" / "cgroup.procs").read_text() == "0"
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    assert (tmp_path / "libpod_parent" / "pids.max").read_text() == "512"


def test_podman_makes_no_network_and_keeps_no_log(tmp_path: Path) -> None:
    argv = play_argv(tmp_path / "pod.yaml")
    assert argv[:3] == ["/usr/bin/podman", "kube", "play"]
    assert {"--network=host", "--no-hosts", "--log-driver=none"} <= {*argv}
    assert argv[-1] == str(tmp_path / "pod.yaml")
    assert environment(runtime.POD)["HOME"] == "/run/pod"


def test_no_two_pods_share_a_number() -> None:
    found = [first_number(index) for index in range(PODS)]
    assert found == [FIRST + EACH * index for index in range(PODS)]
    assert FIRST > 65535
    for index in (-1, PODS):
        with pytest.raises(ValueError, match="at most 16"):
            first_number(index)


@pytest.fixture(scope="module")
def guest_tree(lock: Lock, store: Store) -> Tree:
    """The guest's own packages, in a root of their own."""
    return locked_tree("rootfs", lock, store)


def test_n4_whoever_is_given_a_place_is_root_in_it_and_nowhere_else(guest_tree: Tree) -> None:
    """By the guest's own Python, with the privileges of the two units."""
    package = Path(place.__file__).parent
    binds = [
        Bind(host=package, inside="/usr/lib/python3/dist-packages/os_image/guest"),
        Bind(host=PROGRAM, inside="/mnt/program.py"),
    ]
    done = guest_tree.run(["/usr/bin/python3", "-I", "/mnt/program.py", str(FIRST)], binds=binds)
    found = json.loads(done.stdout)
    assert found["before"] == {"uid": FIRST, "effective": 0, "map": "0 0 4294967295"}
    inside = found["inside"]
    assert (inside["uid"], inside["map"]) == (0, f"0 {FIRST} {EACH}")
    assert inside["effective"] > 0
    assert inside["interfaces"] == ["lo"]
    # Owned by root on the disk, by the pod's root here, and by nobody for the pod beside it.
    assert found["images"] == {"on the disk": 0, "mine": 0, "another's": 65534, "written": "EROFS"}
    assert inside["refused"] == {
        "another's namespace": "EPERM",
        "the machine's network": "EPERM",
        "a file of root's": "EACCES",
        "a number outside": "EINVAL",
    }
