"""What the application's disk says about the application: its pods, and which requests are theirs.

The disk has been measured before it is read, so this is the packager's word, not the host's. It is
still read strictly: the ingress is configured from it, and two paths are the guest's own.
"""

import ipaddress
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from os_image.guest.errors import AppError
from os_image.guest.numbers import PODS

VERSION = 2
POD_NETWORK = ipaddress.IPv4Network("10.89.0.0/24")
FIRST_ADDRESS = ipaddress.IPv4Address("10.89.0.10")
"""Pods have the addresses from here on; those below it are the guest's own."""
RESERVED = ("attestation", "healthz")
"""First elements of paths that the image answers itself, whatever a disk says."""

_LIMIT = 64 * 1024
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pod:
    """Containers that share one address; its manifest bears its name."""

    name: str
    address: str
    health_path: str
    """Answers 200 once the pod can work."""
    health_port: int
    memory_volumes: Mapping[str, int]
    """The size in bytes of each directory in memory that its containers share, by its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests that the ingress passes on."""

    path: str
    """Without a slash at its end; empty for every path."""
    exact: bool
    """Whether it is the whole path, and not its first elements."""
    address: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDescription:
    """The application's own account of itself."""

    name: str
    pods: tuple[Pod, ...]
    routes: tuple[Route, ...]
    """In the order in which they are tried."""


def read_app_description(path: Path) -> AppDescription:
    """The description in the file at `path`.

    Raises:
        AppError: It is missing or malformed, or wants what this image does not give.
    """
    try:
        with path.open("rb") as stream:
            return parse_app_description(stream.read(_LIMIT))
    except OSError as error:
        raise AppError(f"app description {path}: {error.strerror}") from error


def parse_app_description(data: bytes) -> AppDescription:
    """The description that `data`, JSON in UTF-8, holds.

    Raises:
        AppError: As for reading it.
    """
    try:
        document = json.loads(data.decode("utf-8"))
        version = document["version"]
        if version != VERSION:
            raise AppError(f"app description: expected version {VERSION}, got {version!r}")
        found = AppDescription(
            name=_name(document["name"]),
            pods=tuple(_pod(pod) for pod in document["pods"]),
            routes=tuple(_route(route) for route in document["routes"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AppError(f"app description: expected pods and routes, got {error!r}") from error
    addresses = [pod.address for pod in found.pods]
    if not 0 < len(addresses) <= PODS or len(set(addresses)) != len(addresses):
        raise AppError(
            f"app description: expected 1 to {PODS} pods with an address each, got {addresses}"
        )
    for route in found.routes:
        if route.address not in addresses:
            raise AppError(f"app description: expected routes to its pods, got {route.address}")
    return found


def _pod(document: dict[str, Any]) -> Pod:
    health, volumes = document["health"], document["memory_volumes"]
    return Pod(
        name=_name(document["name"]),
        address=_address(document["address"]),
        health_path=_path(health["path"]),
        health_port=_positive(health["port"], 65535),
        memory_volumes={_name(name): _positive(volumes[name], 1 << 40) for name in volumes},
    )


def _route(document: dict[str, Any]) -> Route:
    path, exact = _path(document["path"]), document["exact"]
    if not isinstance(exact, bool):
        raise AppError(f"app description: expected true or false, got {exact!r}")
    if path.casefold().split("/")[1:2] in [[name] for name in RESERVED]:
        raise AppError(f"app description: {path} is answered by the image itself")
    return Route(
        path=path,
        exact=exact,
        address=_address(document["address"]),
        port=_positive(document["port"], 65535),
    )


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise AppError(f"app description: expected a name, got {value!r}")
    return value


def _path(value: object) -> str:
    # What is let through here stands in the ingress's configuration, word for word.
    if (
        not isinstance(value, str)
        or not _PATH.fullmatch(value)
        or {".", ".."} & {*value.split("/")}
    ):
        raise AppError(f"app description: expected a path, got {value!r}")
    return value


def _address(value: object) -> str:
    address = ipaddress.IPv4Address(str(value))
    if address not in POD_NETWORK or address < FIRST_ADDRESS:
        raise AppError(f"app description: expected an address from {FIRST_ADDRESS}, got {address}")
    return str(address)


def _positive(value: object, limit: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value <= limit:
        raise AppError(f"app description: expected a number up to {limit}, got {value!r}")
    return value
