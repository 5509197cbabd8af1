"""What the application's disk says about the application: where it listens, where it is healthy.

The disk has been measured before it is read, so this is the packager's word, not the host's.
"""

import ipaddress
import json
from dataclasses import dataclass
from pathlib import Path

from os_image.guest.errors import AppError

ADDRESS = "10.89.0.10"
PORT = 8080
"""Where the ingress sends requests and the only place that the firewall lets the host reach."""

_LIMIT = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class AppDescription:
    """The application's own account of itself."""

    name: str
    address: str
    port: int
    health_path: str
    """Answers 200 once the application can work."""


def read_app_description(path: Path) -> AppDescription:
    """The description in the file at `path`.

    Raises:
        AppError: It is missing or malformed, or wants another address than this image gives.
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
        network = document["network"]
        found = AppDescription(
            name=str(document["name"]),
            address=str(ipaddress.IPv4Address(network["ip"])),
            port=int(network["port"]),
            health_path=str(document.get("health", "/health")),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise AppError(f"app description: expected version 1, got {error!r}") from error
    if (found.address, found.port) != (ADDRESS, PORT):
        raise AppError(
            f"app description: expected to listen on {ADDRESS}:{PORT}, "
            f"got {found.address}:{found.port}"
        )
    if not found.health_path.startswith("/") or not found.health_path.isprintable():
        raise AppError(f"app description: expected a path for health, got {found.health_path!r}")
    return found
