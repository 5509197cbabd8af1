"""The second example: an application without a model, released, booted and verified like the first.

Its page about itself says what a container of a guest may do: asserted from inside.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import pytest

from blindllama import AttestedSession, VerificationError, verify_and_connect
from blindllama.errors import Code
from building_site import Site
from standing import Published
from supply_chain.step import StepResult
from tests.e2e.checkout import another_checkout, released

pytestmark = pytest.mark.e2e

MEMORY = 32 << 20
"""Bytes that app_disk/apps/hello/manifests/deployment.yaml lets the container have."""
NAMESPACE = 65536
FIRST = 1048576
"""The first pod's, by os_image/guest/numbers.py."""
DEVICES = {
    *("core", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr"),
    *("stdin", "stdout", "tty", "urandom", "zero"),
}


@pytest.fixture(scope="module")
def hello(
    site: Site, results: Mapping[str, StepResult], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[AttestedSession]:
    """A verified session with the application, made and booted by `invoke release --app hello`."""
    assert results
    checkout = another_checkout(site, tmp_path_factory.mktemp("hello") / "checkout")
    with released(checkout, "--app", "hello", "--offline", says="Hello, world.") as session:
        yield session


@pytest.fixture(scope="module")
def about(hello: AttestedSession) -> Mapping[str, str]:
    """What the container sees of itself, by the name of what it looked at."""
    reply = hello.get("/about.sh")
    assert reply.status_code == 200
    parts = (part.partition("\n") for part in f"\n{reply.text}".split("\n== ")[1:])
    return {name: text.strip() for name, _, text in parts}


def test_a_page_is_served_and_the_guests_own_paths_are_not_the_applications(
    hello: AttestedSession,
) -> None:
    """The Ingress asks for every path; two are the guest's."""
    checks = hello.report.to_json()["checks"]
    assert isinstance(checks, list)
    assert [check["status"] for check in checks] == ["passed"] * 10
    assert "Hello, world." in hello.get("/").text
    assert hello.get("/healthz").text == "ok\n"
    assert hello.get("/attestation").status_code == 405
    assert hello.get("/absent").status_code == 404


def test_b3_the_disk_of_another_application(hello: AttestedSession, published: Published) -> None:
    """The same OS image and the same machine, opened with another disk: PCR 15 alone differs."""
    with pytest.raises(VerificationError) as caught:
        verify_and_connect(hello.url, release=published.evidence, policy=published.policy)
    assert caught.value.code == Code.MEASUREMENT_MISMATCH
    assert str(caught.value).startswith("PCR 15 differs ")


def test_a_container_is_nobody_with_no_rights(about: Mapping[str, str]) -> None:
    """Not root inside, a number of its own outside; no capability, nothing to be gained."""
    lines = (line.partition(":") for line in about["/proc/self/status"].splitlines())
    status = {name: value.strip() for name, _, value in lines}
    assert status["Uid"].split() == ["65532"] * 4
    assert status["Gid"].split() == ["65532"] * 4
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    for name in ("uid_map", "gid_map"):
        inside, outside, count = map(int, about[f"/proc/self/{name}"].split())
        assert (inside, outside, count) == (0, FIRST, NAMESPACE)


def test_a_container_has_limits(about: Mapping[str, str]) -> None:
    """Memory, in a cgroup that it sees as the whole.

    Its pod's processes are limited above that one (`inside/test_hardening.py`).
    """
    assert int(about["/sys/fs/cgroup/memory.max"]) == MEMORY
    assert about["/proc/self/cgroup"] == "0::/"


def test_a_container_reads_the_measured_disk_and_writes_nowhere(about: Mapping[str, str]) -> None:
    """The root is read-only, its files and the ConfigMap's come through dm-verity; an emptyDir is memory."""
    mounts = {line.split()[4]: line for line in about["/proc/self/mountinfo"].splitlines()}
    assert mounts["/"].split()[5].split(",")[0] == "ro"
    assert " - erofs /dev/mapper/app " in mounts["/srv"]
    assert mounts["/srv"].split()[5].split(",")[0] == "ro"
    for place in ("/", "/etc", "/srv", "/dev", "/proc", "/sys", "/sys/fs/cgroup"):
        assert "done" not in about[f"write {place}"].splitlines(), place
    # The same words where writing is allowed: memory of the pod, for data and within its limit.
    assert about["write /tmp"] == "done"
    assert {"rw", "nosuid", "nodev", "noexec"} <= {*mounts["/tmp"].split()[5].split(",")}
    assert "size=1024k" in mounts["/tmp"]


def test_n4_a_container_sees_neither_the_tpm_nor_the_guests_network(
    about: Mapping[str, str],
) -> None:
    """The devices of every container and no other; a network of its own, which leads nowhere."""
    assert set(about["ls /dev"].split()) == DEVICES
    interfaces = {
        line.partition(":")[0].strip() for line in about["/proc/net/dev"].splitlines()[2:]
    }
    assert interfaces == {"lo", "eth0"}
    routes = [line.split() for line in about["/proc/net/route"].splitlines()[1:]]
    assert [route[1] for route in routes] == ["0000590A"], "the pods' own network, no default"
    listening = {
        line.split()[1].rpartition(":")[2]
        for line in [*about["/proc/net/tcp"].splitlines(), *about["/proc/net/tcp6"].splitlines()]
        if len(line.split()) > 3 and line.split()[3] == "0A"
    }
    assert listening == {"1F90"}, "its own port 8080, and not the guest's 443"
