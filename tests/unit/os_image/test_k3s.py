"""The second runtime, as far as it can be looked at without its files: they are not in the lock."""

from __future__ import annotations

import configparser
import io
import json
import tarfile
from pathlib import Path

import pytest
import yaml

from app_disk.application import POD_NETWORK
from os_image.build import LOCK_SETS, lock_names
from os_image.guest import runtime
from os_image.k3s import AIRGAP, K3S, K3sError, check_airgap, lay_k3s
from os_image.kernel import Kernel
from os_image.own_files import write_guest
from os_image.spec import SPEC_NAME, OsImageSpec, SpecError, parse_spec, read_spec
from supply_chain.errors import LockError
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Bind
from tests.conftest import ROOT, locked_tree

SPEC = ROOT / "os_image" / SPEC_NAME
PAUSE = "docker.io/rancher/mirrored-pause:3.6"


@pytest.fixture
def k3s_spec() -> OsImageSpec:
    text = SPEC.read_text("utf-8").replace('runtime = "podman"', 'runtime = "k3s"')
    return parse_spec(text)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root file system with the guest's own files and k3s."""
    program = tmp_path / "k3s"
    program.write_bytes(b"\x7fELF, for this test")
    root = tmp_path / "root"
    root.mkdir()
    write_guest(root)
    lay_k3s(root, program)
    return root


def test_podman_is_the_default() -> None:
    spec = read_spec(SPEC)

    assert spec.runtime == "podman"
    assert lock_names(spec) == LOCK_SETS
    assert spec.guest_modules == spec.kernel.guest_modules


def test_k3s_needs_its_program_in_the_lock(k3s_spec: OsImageSpec, lock: Lock) -> None:
    assert lock_names(k3s_spec) == (*LOCK_SETS, K3S)
    with pytest.raises(LockError, match=r"inputs\.add FILE --name k3s"):
        lock.file(K3S)


def test_another_runtime_is_refused() -> None:
    text = SPEC.read_text("utf-8").replace('runtime = "podman"', 'runtime = "docker"')

    with pytest.raises(SpecError) as caught:
        parse_spec(text)

    assert caught.value.code == "os_image.spec"


def test_its_modules_are_in_the_kernel(k3s_spec: OsImageSpec, lock: Lock, store: Store) -> None:
    kernel = Kernel(locked_tree("kernel", lock, store).root)
    names = {module.name for module in kernel.modules(k3s_spec.guest_modules)}

    assert {"nft_compat", "xt_set", "ip_set_hash_net", "dummy"} <= names


def test_the_one_unit_of_the_application_starts_k3s(root: Path) -> None:
    unit = (root / "etc/systemd/system/blindllama-app.service").read_text()
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.read_string(unit)

    assert parser["Service"]["ExecStart"] == "/usr/bin/k3s server"
    assert "blindllama-measured-setup.service" in parser["Unit"]["Requires"].split()
    assert "blindllama-firewall.service" in parser["Unit"]["Requires"].split()
    assert (root / "usr/bin/k3s").stat().st_mode & 0o777 == 0o755


def test_it_is_alone_and_asks_nobody(root: Path) -> None:
    config = yaml.safe_load((root / "etc/rancher/k3s/config.yaml").read_text())
    registries = yaml.safe_load((root / "etc/rancher/k3s/registries.yaml").read_text())

    assert config["bind-address"] == "127.0.0.1"
    assert config["service-cidr"] == str(POD_NETWORK)
    assert set(config["disable"]) == {
        *("coredns", "local-storage", "metrics-server", "servicelb", "traefik"),
    }
    assert config["disable-default-registry-endpoint"] is True
    assert "disable-network-policy" not in config
    assert set(config["kubelet-arg"]) >= {"anonymous-auth=false", "pod-max-pids=512"}
    assert registries == {"mirrors": {}, "configs": {}}


def test_it_reads_images_and_manifests_from_the_measured_disk(root: Path) -> None:
    lines = (root / "usr/lib/tmpfiles.d/k3s.conf").read_text().splitlines()
    links = {line.split()[1]: line.split()[-1] for line in lines if line.startswith("L ")}

    assert links == {
        "/var/lib/rancher/k3s/agent/images": f"{runtime.APP_ROOT}/images",
        "/var/lib/rancher/k3s/server/manifests/app.yaml": f"{runtime.APP_ROOT}/manifests/app.yaml",
    }


def test_n1_its_packet_filter_is_taken_by_the_kernel_and_drops(
    root: Path, lock: Lock, store: Store
) -> None:
    rules = root / "etc/blindllama/firewall.nft"
    tree = locked_tree("rootfs", lock, store)
    completed = tree.run(
        ["/usr/sbin/nft", "-f", "/mnt/firewall.nft"],
        binds=[Bind(host=rules, inside="/mnt/firewall.nft")],
    )

    assert completed.stderr == b""
    text = rules.read_text()
    assert text.count("policy drop;") == text.count("type filter hook") == 3
    config = yaml.safe_load((root / "etc/rancher/k3s/config.yaml").read_text())
    assert f"define pod_network = {config['cluster-cidr']}\n" in text
    numbers = {user.name: user.uid for user in read_spec(SPEC).users}
    askers = f"0, {numbers['caddy']}, {numbers['blindllama']}"
    assert f"define askers = {{ {askers} }}\n" in text
    assert f"define network_daemon = {numbers['systemd-network']}\n" in text


def test_what_is_no_program_is_refused(tmp_path: Path) -> None:
    (tmp_path / "k3s").write_text("#!/bin/sh\n")
    (tmp_path / "root").mkdir()

    with pytest.raises(K3sError) as caught:
        lay_k3s(tmp_path / "root", tmp_path / "k3s")

    assert caught.value.code == "os_image.k3s"
    assert list((tmp_path / "root").iterdir()) == []


def airgap(path: Path, tags: list[str] | None, name: str = "manifest.json") -> Path:
    """An archive as `docker save` writes it, with nothing but its list of images."""
    data = json.dumps([{"Config": "c.json", "RepoTags": tags, "Layers": []}]).encode()
    with tarfile.open(path, "w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    return path


@pytest.mark.parametrize("tag", [PAUSE, "rancher/mirrored-pause:3.10"])
def test_an_airgap_archive_with_what_pods_rest_on_is_taken(tmp_path: Path, tag: str) -> None:
    check_airgap(airgap(tmp_path / "images.tar", ["docker.io/rancher/other:1", tag]))


@pytest.mark.parametrize(
    ("tags", "name"),
    [
        ([], "manifest.json"),
        (None, "manifest.json"),
        (["docker.io/rancher/klipper-lb:v0.4"], "manifest.json"),
        (["docker.io/evil/xrancher/mirrored-pausing:1"], "manifest.json"),
        ([PAUSE], "index.json"),
    ],
)
def test_an_airgap_archive_without_it_is_refused(
    tmp_path: Path, tags: list[str] | None, name: str
) -> None:
    with pytest.raises(K3sError) as caught:
        check_airgap(airgap(tmp_path / "images.tar", tags, name))

    assert caught.value.code == "os_image.k3s"
    assert AIRGAP in str(caught.value)


def test_a_compressed_airgap_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "images.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(600))

    with pytest.raises(K3sError, match="not compressed"):
        check_airgap(tmp_path / "images.tar.zst")
