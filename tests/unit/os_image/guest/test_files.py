"""What the image gets beside the code: units, packet filter, ingress, container settings."""

from __future__ import annotations

import configparser
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app_disk import application, network, oci_layer, render
from os_image.guest import app, app_description, numbers, pod, routes, runtime
from supply_chain.inputs.lock import Lock
from supply_chain.inputs.store import Store
from supply_chain.inputs.tree import Bind, Tree
from tests.conftest import locked_tree

FILES = Path(app.__file__).parent / "files"
UNITS = FILES / "etc" / "systemd" / "system"
FIREWALL = FILES / "etc" / "blindllama" / "firewall.nft"
CADDYFILE = FILES / "etc" / "caddy" / "Caddyfile"


def units() -> list[Path]:
    return sorted(path for path in UNITS.iterdir() if path.suffix == ".service")


def lines(path: Path, key: str) -> list[str]:
    found = re.findall(rf"^{key}=(.*)$", path.read_text(), re.MULTILINE)
    return [str(value) for value in found]


@pytest.mark.parametrize("unit", units(), ids=lambda path: path.stem)
def test_a_unit_starts_programs_and_no_shell(unit: Path) -> None:
    commands = lines(unit, "ExecStart")
    assert commands
    for command in commands:
        program, *words = command.split()
        assert program in {
            "/usr/bin/python3",
            "/usr/bin/caddy",
            "/usr/bin/openssl",
            "/usr/sbin/nft",
        }
        if program == "/usr/bin/python3":
            assert words[:2] == ["-I", "-m"]
            module = Path(app.__file__).parent / f"{words[2].removeprefix('os_image.guest.')}.py"
            assert module.is_file()


@pytest.mark.parametrize("unit", units(), ids=lambda path: path.stem)
def test_a_unit_is_wanted_and_ends_with_the_machine(unit: Path) -> None:
    link = UNITS / "blindllama.target.wants" / unit.name
    # One for each pod, and how many there are says the application.
    if "@" not in unit.name:
        assert link.is_symlink()
        assert link.resolve() == unit
    assert "Conflicts=shutdown.target" in unit.read_text().splitlines()


@pytest.mark.parametrize("unit", units(), ids=lambda path: path.stem)
def test_a_unit_keeps_few_rights(unit: Path) -> None:
    text = unit.read_text().splitlines()
    assert "NoNewPrivileges=yes" in text
    assert any(line.startswith("CapabilityBoundingSet=") for line in text)
    assert any(line.startswith("RestrictAddressFamilies=") for line in text)


@pytest.mark.parametrize("unit", units(), ids=lambda path: path.stem)
def test_a_unit_is_exposed_little(unit: Path, guest_tree: Tree) -> None:
    """By the guest's own systemd, as `systemd-analyze security` counts: 0 is best, 10 is worst."""
    argv = ["systemd-analyze", "security", "--offline=yes", "--no-pager", f"/mnt/{unit.name}"]
    # In tenths; above it, the program fails.
    argv.append("--threshold=29")
    binds = [Bind(host=unit, inside=f"/mnt/{unit.name}")]
    completed = guest_tree.run(argv, binds=binds, check=False)
    assert b"Overall exposure level for" in completed.stdout, completed.stderr
    assert completed.returncode == 0, completed.stdout.decode().splitlines()[-1]


@pytest.mark.parametrize("name", ["blindllama-firewall", "blindllama-measured-setup"])
def test_there_is_no_half_state(name: str) -> None:
    assert lines(UNITS / f"{name}.service", "FailureAction") == ["poweroff-immediate"]


def test_the_default_target_is_ours() -> None:
    assert (UNITS / "default.target").readlink() == Path("blindllama.target")


def test_units_can_be_parsed() -> None:
    for unit in UNITS.glob("*.*"):
        if unit.is_dir():
            continue
        parser = configparser.ConfigParser(strict=False, interpolation=None)
        parser.optionxform = str  # type: ignore[assignment,method-assign]
        parser.read_string(unit.read_text())
        assert set(parser.sections()) <= {"Unit", "Service", "Mount"}


def test_the_programs_of_the_units_are_in_the_image() -> None:
    spec = tomllib.loads((FILES.parent.parent / "os-image.toml").read_text())
    named = json.dumps(spec["rootfs"])
    for unit in units():
        for command in lines(unit, "ExecStart"):
            assert command.split()[0][1:] in named


@pytest.mark.parametrize("module", [app, pod], ids=lambda module: module.__name__)
def test_the_programs_that_start_pods_are_in_the_image(
    module: ModuleType, guest_tree: Tree
) -> None:
    """Named themselves: a link alone would stay, and lead nowhere."""
    spec = tomllib.loads((FILES.parent.parent / "os-image.toml").read_text())
    found = set(re.findall(r'"(/usr/s?bin/[a-z]+)"', Path(str(module.__file__)).read_text()))
    assert found
    for program in found:
        assert program[1:] in spec["rootfs"]["programs"], program
        assert not (guest_tree.root / program[1:]).is_symlink(), program


def test_the_disk_and_the_image_agree_about_pods() -> None:
    assert application.MOST_PODS == numbers.PODS
    assert oci_layer.IDENTITIES == numbers.EACH
    assert application.POD_NETWORK == app_description.POD_NETWORK
    assert application.FIRST_ADDRESS == app_description.FIRST_ADDRESS
    assert str(runtime.POD / "volumes") == render.VOLUMES
    named = network.hardware_address(app_description.FIRST_ADDRESS)
    assert named in app.link_commands(0, str(app_description.FIRST_ADDRESS), 9).split()


def test_the_places_agree() -> None:
    caddyfile = CADDYFILE.read_text()
    firewall = FIREWALL.read_text()
    assert f"import {runtime.ROUTES}\n" in caddyfile
    assert f"reverse_proxy unix/{runtime.ATTEST_SOCKET} {{\n" in caddyfile
    assert f"tls {runtime.CERTIFICATE} {runtime.KEY} " in caddyfile
    assert f'define pods = "{app.BRIDGE}"\n' in firewall
    assert lines(UNITS / "blindllama-pod@.service", "IPAddressAllow") == [
        f"localhost {app_description.POD_NETWORK}"
    ]
    containers = FILES / "etc" / "containers"
    storage = tomllib.loads((containers / "storage.conf").read_text())["storage"]
    assert storage["options"]["additionalimagestores"] == [str(runtime.POD / "images")]
    for key in ("graphroot", "runroot"):
        assert Path(storage[key]).parent == runtime.POD
    settings = tomllib.loads((containers / "containers.conf").read_text())
    assert Path(settings["engine"]["tmp_dir"]).parent == runtime.POD
    policy = json.loads((containers / "policy.json").read_text())
    assert policy == {"default": [{"type": "reject"}]}


@pytest.mark.parametrize(
    ("name", "unit", "user"),
    [
        ("terminator", "blindllama-ingress", "caddy"),
        ("attestation", "blindllama-attest", "blindllama"),
    ],
)
def test_the_packet_filter_knows_who_runs_what(name: str, unit: str, user: str) -> None:
    assert lines(UNITS / f"{unit}.service", "User") == [user]
    assert f"define {name} = {_number(user)}\n" in FIREWALL.read_text()


def test_the_packet_filter_knows_who_renews_the_lease() -> None:
    # The user of Debian's own unit of systemd-networkd.
    assert f"define network_daemon = {_number('systemd-network')}\n" in FIREWALL.read_text()


def _number(user: str) -> int:
    users = tomllib.loads((FILES.parent.parent / "os-image.toml").read_text())["users"]
    return next(int(one["uid"]) for one in users if one["name"] == user)


def test_the_ingress_speaks_tls_1_3_and_does_not_log_requests() -> None:
    text = CADDYFILE.read_text()
    for line in ("admin off", "auto_https off", "protocols h1 h2", "protocols tls1.3"):
        assert line in text
    assert "exclude http.log.error http.handlers.reverse_proxy" in text
    assert not re.search(r"^\t+log$|^\tlog \{\n\t\toutput file", text, re.MULTILINE)


@pytest.fixture(scope="module")
def guest_tree(lock: Lock, store: Store) -> Tree:
    """The guest's own packages, in a root of their own."""
    return locked_tree("rootfs", lock, store)


def test_the_kernel_takes_the_packet_filter(guest_tree: Tree) -> None:
    # A tree's programs run in a network namespace of their own: no rule reaches this machine.
    rules = Bind(host=FIREWALL, inside="/mnt/firewall.nft")
    completed = guest_tree.run(["/usr/sbin/nft", "-f", "/mnt/firewall.nft"], binds=[rules])
    assert completed.stderr == b""


DESCRIPTION = {
    "version": 2,
    "name": "two",
    "pods": [
        {
            "name": name,
            "address": address,
            "health": {"path": "/", "port": 80},
            "memory_volumes": {},
        }
        for name, address in (("one", "10.89.0.10"), ("other", "10.89.0.11"))
    ],
    "routes": [
        {"path": "/v1", "exact": False, "address": "10.89.0.11", "port": 81},
        {"path": "", "exact": False, "address": "10.89.0.10", "port": 80},
    ],
}


def test_caddy_takes_the_caddyfile_with_the_routes_of_a_disk(
    guest_tree: Tree, tmp_path: Path
) -> None:
    described = app_description.parse_app_description(json.dumps(DESCRIPTION).encode())
    (tmp_path / "routes.caddy").write_text(routes.render_routes(described))
    (tmp_path / "Caddyfile").write_text(
        CADDYFILE.read_text().replace(str(runtime.ROUTES), "/mnt/caddy/routes.caddy")
    )
    config = Bind(host=tmp_path, inside="/mnt/caddy")
    argv = ["/usr/bin/caddy", "adapt", "--config", "/mnt/caddy/Caddyfile", "--adapter", "caddyfile"]
    completed = guest_tree.run(argv, binds=[config])
    server = json.loads(completed.stdout)["apps"]["http"]["servers"]["srv0"]
    assert server["listen"] == [":443"]
    (policy,) = server["tls_connection_policies"]
    assert policy["protocol_min"] == "tls1.3"
    # The image's own paths first, then the disk's in their order, then nothing. The first that fits
    # answers: a proxy and a plain answer hand nothing on.
    tried = list(_handlers(server["routes"]))
    assert tried == [
        (["/attestation", "/healthz"], f"unix/{runtime.ATTEST_SOCKET}"),
        (["/v1", "/v1/*"], "10.89.0.11:81"),
        (["/*"], "10.89.0.10:80"),
        (None, 404),
    ]


def _handlers(found: list[dict[str, Any]]) -> Iterator[tuple[list[str] | None, object]]:
    """What answers which paths, in order."""
    (outer,) = found
    (inner,) = (one for one in outer["handle"] if one["handler"] == "subroute")
    for route in inner["routes"]:
        paths = route["match"][0]["path"] if "match" in route else None
        (handle,) = route["handle"]
        (steps,) = (one["handle"] for one in handle["routes"])
        last = steps[-1]
        yield paths, last["upstreams"][0]["dial"] if "upstreams" in last else last["status_code"]
