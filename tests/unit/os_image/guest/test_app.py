from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_image.guest.app import find_manifests, play_argv, start_app
from os_image.guest.app_description import parse_app_description, read_app_description
from os_image.guest.errors import AppError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

GOOD = {
    "version": 1,
    "name": "llm",
    "network": {"ip": "10.89.0.10", "port": 8080},
    "health": "/health",
}


def encode(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def test_a_description_is_read(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_bytes(encode(more="is allowed"))
    app = read_app_description(tmp_path / "app.json")
    assert (app.name, app.address, app.port, app.health_path) == (
        "llm",
        "10.89.0.10",
        8080,
        "/health",
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        encode(network=None),
        encode(network={"ip": "10.89.0.11", "port": 8080}),
        encode(network={"ip": "10.89.0.10", "port": 80}),
        encode(network={"ip": "::1", "port": 8080}),
        encode(network={"ip": "10.89.0.10", "port": "x"}),
        encode(health="health"),
        encode(health="/a\r\nHost: b"),
    ],
)
def test_another_description_is_refused(data: bytes) -> None:
    with pytest.raises(AppError) as caught:
        parse_app_description(data)
    assert caught.value.code == "guest.app"


@given(st.binary(max_size=200))
def test_no_bytes_raise_another_error(data: bytes) -> None:
    with pytest.raises(AppError):
        parse_app_description(data)


def test_pods_get_the_address_that_the_firewall_knows(tmp_path: Path) -> None:
    app = parse_app_description(encode())
    argv = play_argv(tmp_path / "a.yaml", app)
    assert argv[:3] == ["/usr/bin/podman", "kube", "play"]
    assert "--network=blindllama:ip=10.89.0.10" in argv
    assert argv[-1] == str(tmp_path / "a.yaml")


def test_n2_the_policy_is_loaded_before_a_pod_starts(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    (tmp_path / "app.json").write_bytes(encode())
    (tmp_path / "manifests").mkdir()
    (tmp_path / "manifests" / "app.yaml").touch()
    start_app(tmp_path, run=ran.append)
    policy, play = ran
    assert policy == ["/usr/sbin/nft", "-f", str(tmp_path / "network.nft")]
    assert play[:3] == ["/usr/bin/podman", "kube", "play"]


def test_an_app_for_another_image_is_not_started(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    (tmp_path / "app.json").write_bytes(encode(network={"ip": "10.89.0.10", "port": 80}))
    with pytest.raises(AppError):
        start_app(tmp_path, run=ran.append)
    assert ran == []


def test_manifests_are_played_in_the_order_of_their_names(tmp_path: Path) -> None:
    with pytest.raises(AppError):
        find_manifests(tmp_path)
    for name in ("b.yaml", "a.yaml", "readme.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_manifests(tmp_path)] == ["a.yaml", "b.yaml"]
