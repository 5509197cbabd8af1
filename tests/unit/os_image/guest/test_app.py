from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_image.guest.app import memory_argv, play_argv, start_app
from os_image.guest.app_description import parse_app_description, read_app_description
from os_image.guest.errors import AppError
from os_image.guest.routes import render_routes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

POD = {
    "name": "llm",
    "address": "10.89.0.10",
    "health": {"path": "/health", "port": 8080},
    "memory_volumes": {"sockets": 65536},
}
ROUTE = {"path": "/v1", "exact": False, "address": "10.89.0.10", "port": 8080}
GOOD = {"version": 2, "name": "llm", "pods": [POD], "routes": [ROUTE]}


def encode(**changes: object) -> bytes:
    return json.dumps(GOOD | changes).encode()


def pod(**changes: object) -> bytes:
    return encode(pods=[POD | changes])


def route(**changes: object) -> bytes:
    return encode(routes=[ROUTE | changes])


def test_a_description_is_read(tmp_path: Path) -> None:
    (tmp_path / "app.json").write_bytes(encode(more="is allowed"))
    app = read_app_description(tmp_path / "app.json")
    (found,) = app.pods
    assert (found.name, found.address, found.health_path, found.health_port) == (
        "llm",
        "10.89.0.10",
        "/health",
        8080,
    )
    assert found.memory_volumes == {"sockets": 65536}
    (requests,) = app.routes
    assert (requests.path, requests.exact, requests.address, requests.port) == (
        "/v1",
        False,
        "10.89.0.10",
        8080,
    )


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"\xff",
        encode(version=1),
        encode(pods=None),
        encode(pods=[]),
        encode(pods=[POD, POD]),
        encode(routes=None),
        encode(name="../llm"),
        pod(name="../llm"),
        pod(address="10.89.0.1"),
        pod(address="10.88.0.10"),
        pod(address="::1"),
        pod(health=None),
        pod(health={"path": "health", "port": 8080}),
        pod(health={"path": "/a\r\nHost: b", "port": 8080}),
        pod(health={"path": "/", "port": "x"}),
        pod(memory_volumes={"a": 0}),
        pod(memory_volumes={"a": True}),
        pod(memory_volumes={"a,mode=0": 1}),
        pod(memory_volumes=["a"]),
        route(address="10.89.0.11"),
        route(port=0),
        route(exact="no"),
        route(path="/v1 {\n}"),
        route(path="/v1*"),
        route(path="v1"),
        route(path="/v1/../attestation"),
        route(path="/attestation"),
        route(path="/Attestation/x"),
        route(path="/healthz"),
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


def test_a_pod_gets_the_address_of_its_service(tmp_path: Path) -> None:
    (found,) = parse_app_description(encode()).pods
    argv = play_argv(tmp_path / "a.yaml", found)
    assert argv[:3] == ["/usr/bin/podman", "kube", "play"]
    assert "--network=blindllama:ip=10.89.0.10" in argv
    assert argv[-1] == str(tmp_path / "a.yaml")


def test_n2_the_policy_is_loaded_before_a_pod_starts(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    (tmp_path / "app.json").write_bytes(encode())
    start_app(tmp_path, volumes=tmp_path / "volumes", run=ran.append)
    policy, memory, play = ran
    assert policy == ["/usr/sbin/nft", "-f", str(tmp_path / "network.nft")]
    target = tmp_path / "volumes" / "llm" / "sockets"
    assert memory == memory_argv(target, 65536)
    assert target.is_dir()
    assert play[:3] == ["/usr/bin/podman", "kube", "play"]
    assert play[-1] == str(tmp_path / "pods" / "llm.yaml")


def test_an_app_for_another_image_is_not_started(tmp_path: Path) -> None:
    ran: list[Sequence[str]] = []
    (tmp_path / "app.json").write_bytes(encode(version=3))
    with pytest.raises(AppError):
        start_app(tmp_path, volumes=tmp_path / "volumes", run=ran.append)
    assert ran == []


@pytest.mark.parametrize(
    ("changes", "matcher"),
    [
        ({}, "path /v1 /v1/*"),
        ({"exact": True}, "path /v1"),
        ({"path": ""}, "path /*"),
        ({"path": "/", "exact": True}, "path /"),
    ],
)
def test_a_route_is_matched_by_elements(changes: dict[str, object], matcher: str) -> None:
    text = render_routes(parse_app_description(route(**changes)))
    assert f"@route0 {matcher}\n" in text
    assert "reverse_proxy http://10.89.0.10:8080 {" in text
