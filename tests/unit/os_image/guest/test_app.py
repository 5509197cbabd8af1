from __future__ import annotations

import json
import os
import socket
from threading import Thread
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from os_image.guest.app import hand_over, link_commands, prepare_pods, start_argv
from os_image.guest.app_description import parse_app_description, read_app_description
from os_image.guest.errors import AppError
from os_image.guest.place import Place, receive_place
from os_image.guest.routes import render_routes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
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
        encode(pods=[POD | {"address": f"10.89.0.{10 + at}"} for at in range(17)]),
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


OTHER = POD | {"name": "other", "address": "10.89.0.11"}


def place(number: int) -> Place:
    """Numbers of files that are not there."""
    return Place(user=100 + number, network=200 + number, images=300 + number)


def test_n2_the_policy_is_loaded_before_a_pod_has_a_network(tmp_path: Path) -> None:
    ran: list[tuple[Sequence[str], str, int | None]] = []
    made: list[tuple[int, int, Path]] = []

    def make(first: int, count: int, images: Path) -> Place:
        made.append((first, count, images))
        return place(len(made))

    (tmp_path / "app.json").write_bytes(encode(pods=[POD, OTHER]))
    prepared = prepare_pods(tmp_path, run=lambda *told: ran.append(told), make=make)
    policy, bridge, *links = ran
    assert policy == (["/usr/sbin/nft", "-f", str(tmp_path / "network.nft")], "", None)
    assert bridge[1].splitlines()[0] == "link add bl0 type bridge"
    images = tmp_path / "images"
    assert made == [(1048576, 65536, images), (1114112, 65536, images)]
    assert [link[1:] for link in links] == [
        (link_commands(0, "10.89.0.10", 201), 201),
        (link_commands(1, "10.89.0.11", 202), 202),
    ]
    assert prepared == {1048576: place(1), 1114112: place(2)}


def test_an_app_for_another_image_is_not_started(tmp_path: Path) -> None:
    ran: list[object] = []
    (tmp_path / "app.json").write_bytes(encode(version=3))
    with pytest.raises(AppError):
        prepare_pods(tmp_path, run=lambda *told: ran.append(told))
    assert ran == []


def test_each_pod_has_a_unit_of_its_own() -> None:
    assert start_argv(2)[2:] == [
        "--no-block",
        "blindllama-pod@0.service",
        "blindllama-pod@1.service",
    ]


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as found:
        found.bind(str(tmp_path / "pods.sock"))
        found.listen()
        found.settimeout(0.2)
        yield found


def come(path: Path) -> list[int]:
    """What whoever comes is given: numbers of the files, none when refused."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        connection.settimeout(5)
        try:
            found = receive_place(connection)
        except AppError:
            return []
        inodes = [os.fstat(one).st_ino for one in (found.user, found.network, found.images)]
        found.close()
        return inodes


def test_a_pod_is_given_its_own_place_once(listener: socket.socket, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("user", "network", "images")]
    for file in files:
        file.touch()
    user, network, images = (os.open(file, os.O_RDONLY) for file in files)
    mine = Place(user=user, network=network, images=images)
    got: list[list[int]] = []
    asking = Thread(target=lambda: got.extend(come(tmp_path / "pods.sock") for _ in range(2)))
    asking.start()
    # Who comes is told by the kernel; another pod never comes, so the second time is heard.
    with pytest.raises(AppError, match="those of 1048576 did not"):
        hand_over(listener, {os.getuid(): mine, 1048576: place(0)})
    asking.join()
    assert got == [[file.stat().st_ino for file in files], []]


def test_a_stranger_is_given_nothing(listener: socket.socket, tmp_path: Path) -> None:
    got: list[list[int]] = []
    asking = Thread(target=lambda: got.append(come(tmp_path / "pods.sock")))
    asking.start()
    with pytest.raises(AppError):
        hand_over(listener, {os.getuid() + 1: place(0)})
    asking.join()
    assert got == [[]]


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
